"""Ray, with a real cluster on this machine: its tables are those of a local run, whatever becomes of its workers."""

import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rendered import write_config, write_world

import xai
from xai import config as configs
from xai import tables
from xai.exceptions import ConfigError, RequestError
from xai.integrations import ray as ours
from xai.shard import Split

HAS_RAY = importlib.util.find_spec("ray") is not None

needs_ray = pytest.mark.skipif(not HAS_RAY, reason="no ray: pip install 'xai-toolkit[ray]'")

SCANNED = ("images", "objects", "predictions", "issues")


def config(**top: Any) -> configs.Config:
    data = {"eval": {"path": "eval", "format": "voc"}}
    return configs.from_dict({"data": data, "detector": {"kind": "torchvision", "weights": "w.pt"}, **top})


def test_an_engine_that_is_none_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"'engine': expected 'local' or 'ray'; got 'rai'; did you mean 'ray'\?"):
        config(engine="rai")


def test_a_gpu_of_a_number_is_refused_beside_ray() -> None:
    with pytest.raises(ConfigError, match="expected 'device' to be auto, cpu or cuda beside 'engine: ray'"):
        config(engine="ray", device="cuda:1")


def test_without_ray_the_message_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RequestError, match=r"expected the package ray, .* pip install 'xai-toolkit\[ray\]'"):
        xai.triage(config(engine="ray"), out=tmp_path / "run")


def test_a_cluster_without_gpu_refuses_cuda_and_one_with_too_few_cpus_the_workers() -> None:
    with pytest.raises(RequestError, match="expected a GPU on the Ray cluster for 'cuda', it has none"):
        ours.shares({"CPU": 8.0}, None, "cuda")
    with pytest.raises(RequestError, match="expected at most the 2 CPUs of the Ray cluster for an actor, got 3"):
        ours.shares({"CPU": 2.0}, 3, "cpu")
    assert ours.shares({"CPU": 4.0, "GPU": 2.0}, 4, "auto") == ours.Share(actors=1, cpus=4, gpus=1)


def test_a_shard_without_detections_comes_back_as_it_was_sent() -> None:
    empty = {name: tables.empty(tables.TABLES[name]) for name in SCANNED}
    made = ours._unpacked(ours._packed(Split(**empty)))
    assert_frame_equal(made.features, tables.features([]))
    assert_frame_equal(made.images, empty["images"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world")).parent


FUSE = """
import os
from pathlib import Path

def warmth(photo):
    here = Path(__file__).parent
    mean = float(photo[..., 0].mean())
    (here / f"worker{os.getpid()}").touch()
    fuse = here / f"{mean:.9f}"
    if fuse.exists():
        kills = fuse.read_text()
        fuse.write_text(kills + "x")
        if len(kills) < int((here / "kills").read_text()):
            os._exit(1)
    return mean
"""
"""An attribute that ends its process at a photo that has a file of its name, as often as another file says."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start Ray with two workers that find ``fuse`` on their path; its folder is given."""
    ray = pytest.importorskip("ray")
    folder = tmp_path_factory.mktemp("modules")
    (folder / "fuse.py").write_text(FUSE)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *([before] if before else [])])
    sys.path.insert(0, str(folder))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False, object_store_memory=100_000_000)
    yield folder
    ray.shutdown()
    sys.path.remove(str(folder))
    del os.environ["PYTHONPATH"]
    if before:
        os.environ["PYTHONPATH"] = before


def triage(world: Path, name: str, progress: Any = None, **top: Any) -> xai.Run:
    path = write_config(world / f"{name}.yaml", data={"attributes": ["python:fuse.warmth"]}, explain={"budget": 0})
    asked = configs.load(path, [f"{key}={value}" for key, value in top.items()])
    return xai.triage(asked, out=world / name, progress=progress)


def same(one: xai.Run, other: xai.Run) -> None:
    for name in SCANNED:
        assert_frame_equal(getattr(one, name), getattr(other, name), rel_tol=0, abs_tol=1e-4)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xai.scan.SHARD_SIZE", 4)


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of other packages
@pytest.mark.usefixtures("small_shards")
def test_with_a_worker_killed_the_tables_are_those_of_a_local_run(world: Path, cluster: Path) -> None:
    local = triage(world, "local")
    killed: list[int] = []

    def kill(stage: str, done: int, total: int) -> None:
        workers = {int(path.name.removeprefix("worker")) for path in cluster.glob("worker*")} - {os.getpid()}
        if stage == "scan train" and done < total and workers and not killed:
            killed.append(workers.pop())
            os.kill(killed[0], signal.SIGKILL)

    on_ray = triage(world, "on_ray", progress=kill, engine="ray")
    assert killed
    same(local, on_ray)
    assert on_ray.info["config"]["engine"] == "ray"
    made = {path: path.stat().st_mtime_ns for path in (world / "on_ray" / "shards").glob("*/*/fingerprint")}
    assert len(made) == 6
    (sorted(made)[0]).unlink()
    same(local, triage(world, "on_ray"))
    assert sum(path.stat().st_mtime_ns != then for path, then in made.items()) == 1, "what Ray made is taken"


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("small_shards")
def test_a_photo_that_kills_its_worker_each_time_is_set_aside_and_one_that_does_it_once_is_not(
    world: Path, cluster: Path
) -> None:
    local = triage(world, "local")
    photos = local.images.filter(split="eval").sort("image_id").select("image_id", "meta_warmth").rows()
    (cluster / f"{photos[2][1]:.9f}").touch()
    (cluster / "kills").write_text("4")
    on_ray = triage(world, "with_deadly", engine="ray", **{"data.max_bad": 0.2})
    assert on_ray.images.filter(pl.col("status") != "ok").select("image_id", "status").rows() == [
        (photos[2][0], "photo_crashes")
    ]
    assert on_ray.issues.filter(code="photo_crashes").select("split", "image_id", "severity").rows() == [
        ("eval", photos[2][0], "error")
    ]
    rest = pl.col("image_id") != photos[2][0]
    assert_frame_equal(local.predictions.filter(rest), on_ray.predictions.filter(rest), rel_tol=0, abs_tol=1e-4)
    assert (cluster / f"{photos[2][1]:.9f}").read_text() == "xxxx", "with the others twice, alone twice"


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("small_shards")
def test_what_a_function_of_the_users_raises_in_a_worker_is_told_as_in_a_local_run(world: Path, cluster: Path) -> None:
    (cluster / "faulty.py").write_text("def warmth(photo):\n    return [1]\n")
    path = write_config(world / "faulty.yaml", data={"attributes": ["python:faulty.warmth"]})
    with pytest.raises(RequestError, match=r"python:faulty.warmth: expected a number, a word or None .* got list"):
        xai.triage(configs.load(path, ["engine=ray"]), out=world / "faulty")
