"""A shard that ended the process twice is begun without the photos that do it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attributes import workers
from xai import alone, tables
from xai.alone import Opening
from xai.begun import MARK, begun
from xai.exceptions import RequestError
from xai.shard import Work
from xai.types import Dataset

POISONED = (
    "import json, os, sys; sys.path[:] = json.loads(sys.argv[1]); from attributes import extract, serve; "
    "read = extract.read; extract.read = lambda path: os.abort() if '1' in path.name else read(path); serve.serve()"
)
"""A process that ends at one photo, as a decoder with a fault would."""


@pytest.fixture
def work(tmp_path: Path) -> Work:
    root = tmp_path / "photos"
    root.mkdir()
    names = tuple(f"{index}.png" for index in range(3))
    for name in names:
        Image.fromarray(np.full((32, 48, 3), 90, dtype=np.uint8)).save(root / name)
    data = Dataset("eval", root, names, tables.empty(tables.LABELS), tables.empty(tables.ISSUES), (), "auto")
    return Work(7, data, frozenset(), frozenset(), 0.5, False)


def test_a_shard_that_ended_two_processes_is_looked_at(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_START", POISONED)
    mark = tmp_path / f"00007{MARK}"
    for times in (1, 2):
        with begun(work, tmp_path, Opening()) as given:
            assert given is work
            left = mark.read_bytes()
            assert len(left) == times
        mark.write_bytes(left)  # as a process that is killed leaves it
    with begun(work, tmp_path, Opening()) as given:
        assert given.crashed == {"1.png"}
    assert not mark.exists()
    with begun(work, tmp_path, Opening()) as given:
        assert given.crashed == frozenset()


class Poisoned:
    """A process that ends at photos of a name."""

    ending = "2.png"

    def __init__(self, start: str, within: float) -> None:
        self.started = start

    def ask(self, task: tuple[Opening, Work]) -> None:
        (image_id,) = task[1].data.image_ids
        assert task[0] == Opening("detector")
        if self.ending in image_id:
            raise workers.WorkerError

    def close(self) -> None:
        """End nothing."""


def test_a_photo_that_ends_what_is_done_behind_reading_is_found(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xai.begun._crashing", lambda work: set())
    monkeypatch.setattr(alone, "Worker", Poisoned)
    mark = tmp_path / f"00007{MARK}"
    mark.write_bytes(b"..")
    with begun(work, tmp_path, Opening("detector")) as given:
        assert given.crashed == {"2.png"}
    mark.write_bytes(b"...")
    monkeypatch.setattr("xai.begun._crashing", lambda work: {"0.png"})
    with begun(work, tmp_path, Opening("detector")) as given:
        assert given.crashed == {"0.png", "2.png"}
    monkeypatch.setattr(Poisoned, "ending", ".png")
    with pytest.raises(RequestError, match=r"each of 3 in a row"):
        alone.crashing(work, work.data.image_ids, Opening("detector"))


ENDS_BEHIND_READING = (
    "import json, os, sys; sys.path[:] = json.loads(sys.argv[1]); from xai import alone, batch; "
    "measure = batch._measure; ends = lambda photos: photos[0].pixels.max() == 90; "
    "batch._measure = lambda photos, boxes: os.abort() if ends(photos) else measure(photos, boxes); "
    "alone.serve()"
)


@pytest.mark.slow
def test_a_process_does_to_a_photo_what_a_scan_does(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.full((32, 48, 3), 91, dtype=np.uint8)).save(work.data.root / "1.png")
    monkeypatch.setattr(alone, "_START", ENDS_BEHIND_READING)
    assert alone.crashing(work, ["0.png", "1.png"], Opening()) == {"0.png"}


def test_a_block_that_raises_was_not_ended(work: Work, tmp_path: Path) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), begun(work, tmp_path, Opening()):
            raise ZeroDivisionError
    assert not list(tmp_path.glob(f"*{MARK}"))


def test_where_no_photo_is_to_blame_the_run_ends_with_a_sentence(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_START", "raise SystemExit(7)")
    (tmp_path / f"00007{MARK}").write_bytes(b"..")
    with (
        pytest.raises(RequestError, match=r"from 0\.png to 2\.png ended the run 2 times"),
        begun(work, tmp_path, Opening()),
    ):
        pass
