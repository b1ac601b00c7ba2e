"""Photos and labels in an S3 bucket, with a server of that protocol on this machine."""

import importlib.util
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal
from rendered import write_world

from attributes import remote
from xai import dataset
from xai.exceptions import ConfigError
from xai.scan import Split, scan

HAS_SERVER = all(importlib.util.find_spec(name) for name in ("s3fs", "moto", "flask"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_SERVER, reason="no S3 server: pip install s3fs 'moto[server]'"),
    pytest.mark.filterwarnings("ignore"),  # of other packages; ours are errors in all other tests
]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return write_world(tmp_path).parent / "eval"


@pytest.fixture
def bucket(world: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the path of a bucket that holds the world; its credentials are in the environment."""
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host.replace('0.0.0.0', '127.0.0.1')}:{port}",
        "AWS_ACCESS_KEY_ID": "mine",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    remote._store.cache_clear()
    store = remote._store("s3://bucket", os.getpid())
    store.makedirs("bucket", exist_ok=True)  # moto keeps buckets from server to server
    for path in world.rglob("*.*"):
        store.pipe(f"bucket/world/{path.relative_to(world).as_posix()}", path.read_bytes())
    yield remote.place("s3://bucket/world")
    remote._store.cache_clear()
    server.stop()


def scanned(root: Path, folder: Path) -> Split:
    return scan(
        dataset.read(root, "voc", role="eval"),
        detector=None,
        detect_ids=frozenset(),
        match_iou=0.5,
        fingerprint={},
        folder=folder,
        workers=2,
        progress=lambda stage, done, total: None,
    )


def test_a_bucket_gives_the_rows_of_a_folder(
    world: Path, bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xai.scan.SHARD_SIZE", 4)
    here, there = scanned(world, tmp_path / "here"), scanned(bucket, tmp_path / "there")
    for name in ("images", "objects", "issues"):
        assert_frame_equal(getattr(here, name), getattr(there, name))
    made = {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "there").glob("*/fingerprint"))}
    store = remote._store("s3://bucket", os.getpid())
    first = there.images["image_id"][0]
    store.pipe(f"bucket/world/{first}", b"")
    again = scanned(bucket, tmp_path / "there")
    assert [path.stat().st_mtime_ns == then for path, then in made.items()] == [False, *[True] * (len(made) - 1)]
    assert again.images["status"].to_list().count("photo_empty") == 1


def test_a_bucket_that_is_not_there(bucket: Path) -> None:
    with pytest.raises(ConfigError, match="expected a folder at s3://none/world"):
        dataset.read(remote.place("s3://none/world"), "voc", role="eval")
