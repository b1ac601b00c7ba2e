"""MLflow, with a real tracking server on SQLite: a training run, its model version, and a triage of it."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rendered import write_config, write_world

import xai
from xai.demo.run import CHECKPOINT
from xai.exceptions import ConfigError, RequestError
from xai.integrations import mlflow as ours

HAS_SERVER = all(importlib.util.find_spec(name) for name in ("mlflow", "flask", "sqlalchemy", "alembic"))

pytestmark = [
    pytest.mark.skipif(not HAS_SERVER, reason="no mlflow: pip install 'xai-toolkit[mlflow]'"),
    pytest.mark.filterwarnings("ignore"),  # of other packages; ours are errors in all other tests
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", address.partition(":")[2]]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    command += ["--workers", "1"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(240):
            try:
                with urllib.request.urlopen(f"http://{address}/health", timeout=2) as answer:
                    if answer.status == 200:
                        break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()[-2000:]
                time.sleep(0.5)
        else:
            pytest.fail((folder / "log").read_text()[-2000:])
        yield f"http://{address}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:  # a busy machine
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[Any]:
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(server)
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world")).parent


@pytest.fixture(scope="module")
def trained(client: Any, world: Path) -> Any:
    """Train a detector: a run with parameters, a metric, a checkpoint, a profile in one line, and a model version."""
    import mlflow

    mlflow.set_experiment("training")
    with mlflow.start_run(run_name="night shift") as run:
        mlflow.log_params({"epochs": 5, "learning_rate": 0.002})
        mlflow.log_metric("map50", 0.61)
        mlflow.log_artifact(str(CHECKPOINT), "weights")
        assert ours.log_profile(world / "train") == f"runs:/{run.info.run_id}/profile"
    client.create_registered_model("cars")
    source = f"{run.info.artifact_uri}/weights"
    version = client.create_model_version("cars", source, run.info.run_id)
    client.set_registered_model_alias("cars", "live", version.version)
    return client.get_run(run.info.run_id)


@pytest.fixture(scope="module")
def run(trained: Any, world: Path) -> xai.Run:
    """Triage the registered version against the profile that its training run logged."""
    config = write_config(
        world / "registered.yaml",
        data={"train": {"profile": "models:/cars/1"}, "group": None},
        detector={"weights": "models:/cars@live"},
        explain={"budget": 0},
        mlflow={"experiment": "car misses", "run_name": "first"},
    )
    return xai.triage(config, out=world / "run")


def test_the_run_tells_which_model_it_was(run: xai.Run, trained: Any) -> None:
    model = run.info["model"]
    assert model["file"] == "models:/cars@live"
    assert len(model["sha256"]) == 64
    told = model["details"]["mlflow"]
    assert (told["name"], told["version"], told["aliases"]) == ("cars", "1", ["live"])
    assert told["run_id"] == trained.info.run_id
    assert told["run"]["experiment"] == "training"
    assert told["run"]["params"] == {"epochs": "5", "learning_rate": "0.002"}
    assert told["run"]["metrics"] == {"map50": 0.61}
    # The data set that the model was trained on is the one that this run compares with.
    data = told["run"]["data"]
    assert [(item["context"], item["digest"]) for item in data] == [("training", run.info["data"]["train"]["sha256"])]
    assert run.info["config"]["detector"]["weights"] == "models:/cars@live"


def test_the_profile_stands_for_the_training_set(run: xai.Run, world: Path) -> None:
    assert run.images.filter(split="train").height == len(list((world / "train" / "JPEGImages").iterdir()))
    assert run.coverage["train_count"].null_count() == 0


def test_standard_output_is_left_to_the_command(run: xai.Run, capsys: pytest.CaptureFixture[str]) -> None:
    ours.log_run(run, experiment="quiet")
    told = capsys.readouterr()
    assert told.out == ""
    assert "View run" in told.err


def test_the_triage_is_in_the_experiment(run: xai.Run, client: Any, tmp_path: Path) -> None:
    experiment = client.get_experiment_by_name("car misses")
    [logged] = client.search_runs([experiment.experiment_id])
    assert (logged.info.run_name, logged.info.status) == ("first", "FINISHED")
    objects = run.objects.filter(pl.col("split") == "eval", pl.col("outcome") != "ignored")
    assert logged.data.metrics["objects"] == len(objects)
    assert logged.data.metrics["misses"] == len(run.misses)
    answer = run.info["promise"][0]
    assert logged.data.metrics["promise/recall/rate"] == pytest.approx(answer["rate"])
    assert logged.data.tags["xai.promise.recall"] == answer["answer"]
    assert logged.data.tags["xai.model.version"] == "models:/cars/1"
    assert logged.data.params["xai.detector.score_threshold"] == "0.4"
    inputs = {dict((tag.key, tag.value) for tag in item.tags)["mlflow.data.context"]: item for item in
              logged.inputs.dataset_inputs}  # fmt: skip
    assert set(inputs) == {"training", "evaluation"}
    sha256 = run.info["data"]["eval"]["sha256"]
    assert inputs["evaluation"].dataset.digest == sha256[:36]
    assert {tag.value for tag in inputs["evaluation"].tags} == {"evaluation", sha256}
    fetched = Path(client.download_artifacts(logged.info.run_id, "", str(tmp_path)))
    assert (fetched / "report.html").read_bytes() == run.report.read_bytes()
    assert pl.read_parquet(fetched / "tables" / "verdicts.parquet").equals(run.verdicts)
    assert len(pl.read_csv(fetched / "tables" / "coverage.csv", infer_schema=False)) == len(run.coverage)
    assert json.loads((fetched / "run.json").read_text())["model"] == run.info["model"]


def test_a_miss_of_a_registered_model_can_be_explained_later(run: xai.Run) -> None:
    found = xai.explain(run.path, run.misses[0].error_id, n_masks=60)
    assert found.picture.is_file()


def test_a_run_is_logged_into_the_active_one(run: xai.Run, client: Any) -> None:
    import mlflow

    with mlflow.start_run() as active:
        assert ours.log_run(run) == active.info.run_id
    assert client.get_run(active.info.run_id).data.metrics["misses"] == len(run.misses)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("models:/cars", "expected models:/NAME/VERSION"),
        ("models:/cars/7", "answered: .*7"),
        ("models:/lorries/latest", "expected a registered model 'lorries'"),
        ("models:/cars@night", "answered"),
        ("models:/cars/1/absent.pt", "answered"),
    ],
)
def test_addresses_of_nothing(trained: Any, address: str, message: str) -> None:
    with pytest.raises(RequestError, match=message), ours.weights(address):
        pass


def test_one_checkpoint_of_several_is_named(trained: Any, client: Any, tmp_path: Path) -> None:
    for name in ("best.pt", "last.pt"):
        shutil.copy(CHECKPOINT, tmp_path / name)
    client.log_artifacts(trained.info.run_id, str(tmp_path), "both")
    version = client.create_model_version("cars", f"{trained.info.artifact_uri}/both", trained.info.run_id).version
    with pytest.raises(RequestError, match=r"found best.pt, last.pt; name it"), ours.weights(f"models:/cars/{version}"):
        pass
    with ours.weights("models:/cars/latest/best.pt") as fetched:
        assert fetched.path.read_bytes() == CHECKPOINT.read_bytes()
        assert fetched.told["version"] == version
    assert not fetched.path.exists()


def test_a_version_without_a_training_run(client: Any, trained: Any) -> None:
    model = client.create_logged_model(experiment_id="0", name="found")
    client.log_model_artifact(model.model_id, str(CHECKPOINT))
    client.finalize_logged_model(model.model_id, "READY")
    client.create_registered_model("orphans")
    client.create_model_version("orphans", f"models:/{model.model_id}", model_id=model.model_id)
    with ours.weights("models:/orphans/1") as fetched:
        assert fetched.trained_at is None
        assert fetched.told["run_id"] == "unknown"
    with pytest.raises(RequestError, match="names no training run"), ours.profile_folder(Path("models:/orphans/1")):
        pass


def test_log_profile_needs_a_run(client: Any, world: Path) -> None:
    with pytest.raises(RequestError, match="expected an active MLflow run"):
        ours.log_profile(world / "train")


def test_a_server_that_is_not_there_is_told_before_the_work(
    client: Any, server: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    config = write_config(world / "nowhere.yaml", mlflow={"experiment": "x"})
    mlflow.set_tracking_uri("http://somebody:secret@127.0.0.1:9")
    try:
        with pytest.raises(RequestError, match=r"MLflow at http://127.0.0.1:9 answered") as caught:
            xai.triage(config, out=tmp_path / "run")
    finally:
        mlflow.set_tracking_uri(server)
    assert "secret" not in str(caught.value)
    assert not list((tmp_path / "run").iterdir())


def test_a_deleted_experiment_is_told_before_the_work(client: Any, world: Path, tmp_path: Path) -> None:
    experiment = client.create_experiment("gone")
    client.delete_experiment(experiment)
    config = write_config(world / "gone.yaml", mlflow={"experiment": "gone"})
    with pytest.raises(RequestError, match=rf"'gone' was deleted.*restore -x {experiment}"):
        xai.triage(config, out=tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


def test_an_experiment_that_another_run_made_meanwhile(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, told = client.create_experiment("raced"), []
    seen = type(client).get_experiment_by_name

    def late(self: Any, name: str) -> Any:
        told.append(name)
        return None if len(told) == 1 else seen(self, name)

    monkeypatch.setattr(type(client), "get_experiment_by_name", late)
    assert ours.experiment_id("raced") == experiment


def test_an_alias_that_is_moved_meanwhile(trained: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights are those of the version that is told of, wherever the alias points once they are fetched."""
    source, run_id = f"{trained.info.artifact_uri}/nothing", trained.info.run_id
    other = client.create_model_version("cars", source, run_id).version
    client.set_registered_model_alias("cars", "moved", "1")
    seen = type(client).get_model_version_by_alias

    def moves(self: Any, name: str, alias: str) -> Any:
        found = seen(self, name, alias)
        client.set_registered_model_alias("cars", "moved", other)
        return found

    monkeypatch.setattr(type(client), "get_model_version_by_alias", moves)
    with ours.weights("models:/cars@moved") as fetched:
        assert fetched.told["version"] == "1"
        assert fetched.path.read_bytes() == CHECKPOINT.read_bytes()


def test_the_keys_of_the_config(world: Path) -> None:
    from xai import config

    loaded = config.load(write_config(world / "keys.yaml", detector={"weights": "models:/a/3"}))
    assert str(loaded.detector.weights) == "models:/a/3"
    again = config.from_dict(loaded.model_dump(mode="json"), base=Path("/elsewhere"))
    assert again.detector.weights == loaded.detector.weights
    with pytest.raises(ConfigError, match=r"mlflow.experiment' is missing"):
        config.load(write_config(world / "keys.yaml", mlflow={"run_name": "x"}))
