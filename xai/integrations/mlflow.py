"""MLflow: runs are logged to an experiment, detectors and profiles are read from the model registry.

Which server is asked says ``MLFLOW_TRACKING_URI``, as everywhere in MLflow. In a training script, one line::

    import xai.integrations.mlflow

    xai.integrations.mlflow.log_profile("dataset/data.yaml")

and in the config of a triage::

    data: {train: {profile: models:/cars/3}, ...}      # the profile that the training run logged
    detector: {kind: ultralytics, weights: models:/cars/3}
    mlflow: {experiment: car misses}                   # the triage is logged there

What the registry tells of the model stands in ``run.json`` under ``model.details.mlflow``. ``mlflow-skinny`` does: only
its client is used.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from xai import extras
from xai.exceptions import RequestError
from xai.integrations.registry import PROFILE, Registered, answering, is_address, profile_folder, weights

if TYPE_CHECKING:
    from xai.run import Run

__all__ = [
    "PROFILE",
    "Registered",
    "experiment_id",
    "is_address",
    "log_profile",
    "log_run",
    "metrics",
    "profile_folder",
    "weights",
]

DIGEST_LENGTH = 36
"""Characters that MLflow keeps of a data set's digest; the whole SHA-256 is a tag of the input."""

CONTEXTS = {"train": "training", "eval": "evaluation", "production": "production", "audit": "audit"}

_PARAM_LENGTH = 500
_NAME_LENGTH = 200
_BATCH = 100
_NOT_IN_A_NAME = re.compile(r"[^\w.\- /]")


def log_profile(dataset: str | Path, *, run_id: str | None = None, **options: Any) -> str:
    """Tag a training set and log the profile to the training run, beside its model.

    Args:
        dataset: the data set, as for ``xai.profile``.
        run_id: the run; the active one if left out.
        options: of ``xai.profile``, as ``format``, ``split``, ``config``.

    Returns:
        The profile's address, ``runs:/ID/profile``.

    Raises:
        RequestError: MLflow is not installed or does not answer, or no run is active.
        DataError: the data set cannot be used.
    """
    from xai import reference, run_json

    run_id = run_id or _active_run()
    with tempfile.TemporaryDirectory(prefix="xai-profile-") as name:
        folder = Path(name)
        reference.profile(dataset, out=folder, **options)
        shutil.rmtree(folder / "shards")
        with answering() as client:
            client.log_artifacts(run_id, name, PROFILE)
            client.log_inputs(run_id, _inputs(run_json.read(folder)["data"]))
    return f"runs:/{run_id}/{PROFILE}"


def log_run(run: Run, *, experiment: str | None = None, run_name: str | None = None, run_id: str | None = None) -> str:
    """Log a triage: figures, tables, the report, and the data sets with their digests.

    Args:
        run: a finished triage.
        experiment: its name, made if it is not there; the active run, else the default experiment if left out.
        run_name: of the new MLflow run; the run directory's name if left out.
        run_id: an MLflow run to log to, in place of a new one.

    Returns:
        The id of the MLflow run.

    Raises:
        RequestError: MLflow is not installed or does not answer, or refuses.
    """
    with answering() as client:
        own = run_id is None and (experiment is not None or _active_run(required=False) is None)
        if own:
            where = experiment_id(experiment)
            run_id = client.create_run(where, run_name=run_name or run.path.resolve().name).info.run_id
        run_id = run_id or _active_run()
        try:
            _log(client, str(run_id), run)
        except BaseException:
            if own:
                _end(client, run_id, "FAILED")
            raise
        if own:
            _end(client, run_id, "FINISHED")
    return str(run_id)


def _end(client: Any, run_id: str | None, status: str) -> None:
    # MLflow prints where the run can be seen; standard output may be read by a program.
    with contextlib.redirect_stdout(sys.stderr):
        client.set_terminated(run_id, status)


def experiment_id(name: str | None) -> str:
    """Return the id of an experiment, made if it is not there; of the default one if no name is given.

    Raises:
        RequestError: MLflow is not installed or does not answer, or the experiment was deleted.
    """
    if name is None:
        return "0"
    with answering() as client:
        found = client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(client.create_experiment(name))
            except extras.need("mlflow.exceptions", "mlflow").MlflowException:
                found = client.get_experiment_by_name(name)  # another run may have made it meanwhile
                if found is None:
                    raise
    if found.lifecycle_stage == "deleted":
        again = f"restore it (mlflow experiments restore -x {found.experiment_id}) or name another"
        raise RequestError(f"MLflow's experiment {name!r} was deleted and takes no runs: {again}")
    return str(found.experiment_id)


def metrics(run: Run) -> dict[str, float]:
    """Return the figures of a run by the names that they are logged under; what is not known is left out."""
    from xai import report

    summary = report.summarize(run.path)
    found: dict[str, float | None] = {
        "photos": summary.photos,
        "objects": summary.objects,
        "misses": summary.misses,
        "miss_rate": summary.miss_rate,
        "unexplained": summary.unexplained,
        "chance": summary.chance,
    }
    found |= {f"cause/{line.cause.replace('/', '_')}": line.misses for line in summary.causes}
    found |= {f"mechanism/{name}": count for name, count in summary.mechanisms.items()}
    for answer in summary.promises:
        for name in ("rate", "low", "high", "target"):
            found[f"promise/{answer['metric']}/{name}"] = answer.get(name)
    told = {name: float(value) for name, value in found.items() if value is not None}
    return dict(zip(_names(told), told.values(), strict=True))


def _log(client: Any, run_id: str, run: Run) -> None:
    entities = extras.need("mlflow.entities", "mlflow")
    info = run.info
    now = int(datetime.datetime.now(datetime.UTC).timestamp() * 1000)
    figures = [entities.Metric(name, value, now, 0) for name, value in metrics(run).items()]
    settings = dict(_flat(info["config"], "xai."))  # a training run that is logged to has parameters of its own
    params = [
        entities.Param(name, value[:_PARAM_LENGTH])
        for name, value in zip(_names(settings), settings.values(), strict=True)
    ]
    tags = {
        "xai.version": info["version"],
        "xai.command": info["command"],
        "xai.run": str(run.path.resolve()),
        "xai.model.sha256": info["model"]["sha256"],
        "xai.model.trained_at": info["model"]["trained_at"],
        **{f"xai.promise.{answer['metric']}": answer["answer"] for answer in info["promise"]},
    }
    named = info["model"]["details"].get("mlflow")
    if named:
        tags["xai.model.version"] = f"models:/{named['name']}/{named['version']}"
    client.log_batch(run_id, metrics=figures, tags=[entities.RunTag(key, str(value)) for key, value in tags.items()])
    for start in range(0, len(params), _BATCH):
        client.log_batch(run_id, params=params[start : start + _BATCH])
    client.log_inputs(run_id, _inputs(info["data"]))
    for name in ("report.html", "run.json"):
        if (run.path / name).is_file():
            client.log_artifact(run_id, str(run.path / name))
    with tempfile.TemporaryDirectory(prefix="xai-mlflow-") as folder:
        for file in sorted(run.path.glob("*.parquet")):
            shutil.copy(file, folder)
        for name in ("verdicts", "coverage", "slices", "issues"):  # the server shows CSV as tables
            _flat_columns(run.table(name)).write_csv(Path(folder) / f"{name}.csv")
        client.log_artifacts(run_id, folder, "tables")


def _inputs(data: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """Return the data sets of ``run.json`` as MLflow knows data sets, with our own digests."""
    entities = extras.need("mlflow.entities", "mlflow")
    found = []
    for split, told in data.items():
        source = json.dumps({"uri": str(told["path"])})
        profile = json.dumps({name: told.get(name) for name in ("photos", "objects", "captured_at", "format")})
        known = entities.Dataset(
            name=Path(str(told["path"])).name or split,
            digest=str(told["sha256"])[:DIGEST_LENGTH],
            source_type="local",
            source=source,
            profile=profile,
        )
        tags = {"mlflow.data.context": CONTEXTS.get(split, split), "xai.sha256": str(told["sha256"])}
        found.append(entities.DatasetInput(known, [entities.InputTag(key, value) for key, value in tags.items()]))
    return found


def _active_run(*, required: bool = True) -> Any:
    """Return the id of the active run, None where there is none and none is required."""
    mlflow = extras.need("mlflow", "mlflow")
    active = mlflow.active_run()
    if active is None and required:
        raise RequestError("expected an active MLflow run (with mlflow.start_run():) or run_id")
    return active.info.run_id if active else None


def _flat(section: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    """Return the values of a nested mapping by dotted key, without those that are not set."""
    for key, value in section.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif value is not None and value != []:
            yield name, str(value)


def _names(wanted: Iterable[str]) -> list[str]:
    """Return names that MLflow takes: its own characters only, not too long, each once; classes carry any character."""
    found: list[str] = []
    for name in wanted:
        made = _NOT_IN_A_NAME.sub("_", name)
        if len(made) > _NAME_LENGTH or made in found:
            made = f"{made[:_NAME_LENGTH]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        found.append(made)
    return found


def _flat_columns(frame: pl.DataFrame) -> pl.DataFrame:
    lists = [name for name, dtype in frame.schema.items() if dtype == pl.List(pl.String)]
    return frame.with_columns(pl.col(lists).list.join(" & "))
