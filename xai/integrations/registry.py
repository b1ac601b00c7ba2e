"""MLflow's model registry: the weights of a version, what it tells of them, and the profile of its training run."""

from __future__ import annotations

import contextlib
import datetime
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from xai import extras
from xai.config import ADDRESSES
from xai.exceptions import RequestError

PROFILE = "profile"
"""Folder of the profile among a training run's artifacts."""

_CREDENTIALS = re.compile(r"//[^/@\s]*@")
_WEIGHTS = {".pt", ".pth", ".ckpt", ".safetensors", ".json"}
_OF_MLFLOW = {"MLmodel", "registered_model_meta"}


@dataclass(frozen=True, slots=True)
class Registered:
    """A model version's files on this machine, and what the registry tells of it.

    Attributes:
        path: the checkpoint, or the folder of a transformers model.
        trained_at: end of the training run, ISO 8601; None where nothing tells.
        told: name, version, aliases, tags, and of the training run id, experiment, name, times, parameters, metrics and
            data sets.
    """

    path: Path
    trained_at: str | None
    told: dict[str, Any]


def is_address(value: object) -> bool:
    """Tell whether a path of the config is an address that MLflow resolves.

    >>> is_address("models:/cars/3"), is_address("weights/best.pt"), is_address(Path("runs:/ab12/profile"))
    (True, False, True)
    """
    return str(value).startswith(ADDRESSES)


@contextlib.contextmanager
def weights(address: str) -> Iterator[Registered]:
    """Fetch the weights of a registered model version; the files are removed when the block ends.

    Args:
        address: ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``, where several files could be meant with the path in
            the model: ``models:/NAME/VERSION/weights/best.pt``.

    Raises:
        RequestError: MLflow is not installed or does not answer, there is no such version, or it does not hold exactly
            one checkpoint.
    """
    version, client = _version(address)
    told, trained_at = _provenance(version, client)
    # An alias may be moved at any time; what is fetched is the version that is told of.
    inside = _parsed(address).inside
    with _fetched(f"models:/{version.name}/{version.version}{inside}", address) as folder:
        yield Registered(_only_checkpoint(folder, address), trained_at, told)


@contextlib.contextmanager
def profile_folder(place: Path) -> Iterator[Path]:
    """Yield the folder of a profile: a path as it is, what lies with MLflow fetched, and removed when the block ends.

    Args:
        place: a path; ``models:/NAME/VERSION``, whose training run logged it; or ``runs:/ID/PATH``.

    Raises:
        RequestError: as for ``weights``, or the model version names no run.
    """
    address = str(place)
    if not is_address(address):
        yield place
        return
    if address.startswith("models:/"):
        version, _ = _version(address)
        if not version.run_id:
            raise RequestError(f"{address}: this model version names no training run, whose profile could be taken")
        address = f"runs:/{version.run_id}/{PROFILE}"
    with _fetched(address, str(place)) as folder:
        yield folder


@contextlib.contextmanager
def answering(address: str = "") -> Iterator[Any]:
    """Yield a client; what MLflow raises becomes one line that says which server was asked."""
    mlflow = extras.need("mlflow", "mlflow")
    try:
        yield mlflow.MlflowClient()
    except (mlflow.exceptions.MlflowException, OSError) as error:
        server = _CREDENTIALS.sub("//", str(mlflow.get_tracking_uri()))
        what = f"{address}: " if address else ""
        answer = _CREDENTIALS.sub("//", " ".join(str(error).split()))[:300]
        raise RequestError(f"{what}MLflow at {server} answered: {answer}") from error


def _provenance(version: Any, client: Any) -> tuple[dict[str, Any], str | None]:
    """Return what the registry tells of a model version, and when its training run ended."""
    told: dict[str, Any] = {
        "name": version.name,
        "version": str(version.version),
        "aliases": sorted(version.aliases or ()),
        "tags": dict(version.tags or {}),
        "registered_at": _iso(version.creation_timestamp),
        "run_id": version.run_id or "unknown",
    }
    if not version.run_id:
        return told, None
    with answering():
        run = client.get_run(version.run_id)
        experiment = client.get_experiment(run.info.experiment_id)
    told["run"] = {
        "name": run.info.run_name,
        "experiment": experiment.name,
        "status": run.info.status,
        "started_at": _iso(run.info.start_time),
        "finished_at": _iso(run.info.end_time),
        "params": dict(run.data.params),
        "metrics": dict(run.data.metrics),
        "data": [_dataset(item) for item in run.inputs.dataset_inputs] if run.inputs else [],
    }
    return told, _iso(run.info.end_time)


def _dataset(item: Any) -> dict[str, Any]:
    tags = {tag.key: tag.value for tag in item.tags}
    return {
        "name": item.dataset.name,
        "digest": tags.get("xai.sha256") or item.dataset.digest,
        "context": tags.get("mlflow.data.context", "unknown"),
        "source": item.dataset.source,
    }


def _version(address: str) -> tuple[Any, Any]:
    """Return the model version of an address, and the client."""
    name, version, alias, _ = _parsed(address)
    with answering(address) as client:
        if alias is not None:
            return client.get_model_version_by_alias(name, alias), client
        if version == "latest":
            numbers = [int(item.version) for item in client.search_model_versions(f"name = '{name}'")]
            if not numbers:
                raise RequestError(f"{address}: expected a registered model {name!r} with a version, found none")
            version = str(max(numbers))
        return client.get_model_version(name, version), client


class _Address(NamedTuple):
    """The parts of ``models:/NAME/VERSION/INSIDE`` or ``models:/NAME@ALIAS/INSIDE``; ``inside`` begins with a slash."""

    name: str
    version: str | None
    alias: str | None
    inside: str


def _parsed(address: str) -> _Address:
    """Take an address apart.

    >>> tuple(_parsed("models:/cars/3/weights/best.pt")), tuple(_parsed("models:/cars@live"))
    (('cars', '3', None, '/weights/best.pt'), ('cars', None, 'live', ''))
    """
    found = re.fullmatch(r"models:/([^/@']+)(?:@([^/]+)|/(\d+|latest))(/.+)?", address)
    if found is None:
        raise RequestError(f"expected models:/NAME/VERSION, models:/NAME/latest or models:/NAME@ALIAS, got {address!r}")
    return _Address(found[1], found[3], found[2], found[4] or "")


@contextlib.contextmanager
def _fetched(address: str, asked: str) -> Iterator[Path]:
    """Fetch files; ``asked`` is the address that messages name."""
    artifacts = extras.need("mlflow.artifacts", "mlflow")
    with tempfile.TemporaryDirectory(prefix="xai-mlflow-") as folder:
        with answering(asked):
            # A file may be what is asked for, or the path of one that lies on this machine.
            found = artifacts.download_artifacts(artifact_uri=address, dst_path=folder)
        yield Path(found)


def _only_checkpoint(found: Path, address: str) -> Path:
    """Return the one file of a model that can be a detector's weights; a transformers model is its folder."""
    if found.is_file():
        return found
    settings = [file for file in found.rglob("config.json") if (file.parent / "preprocessor_config.json").is_file()]
    if len(settings) == 1:
        return settings[0].parent
    files = [file for file in found.rglob("*") if file.suffix in _WEIGHTS and not (_OF_MLFLOW & {file.name, file.stem})]
    if len(files) != 1:
        names = ", ".join(sorted(str(file.relative_to(found)) for file in files)) or "none"
        raise RequestError(
            f"{address}: expected one checkpoint in this model version, found {names}; name it: {address}/PATH"
        )
    return files[0]


def _iso(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    told = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)
    return told.isoformat(timespec="seconds")
