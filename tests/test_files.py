"""Files that appear whole or not at all, and folders to write to."""

import errno
import fcntl
import logging
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from xai.exceptions import OutputError, RequestError
from xai.files import make_folder, output_error, owned, remove_pictures, replacing


def _write_half(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError


def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.txt"
    with replacing(path) as temporary:
        temporary.write_text("old")
    with pytest.raises(ZeroDivisionError):
        _write_half(path)
    assert path.read_text() == "old"
    assert [item.name for item in path.parent.iterdir()] == ["table.txt"]


def test_a_file_where_a_folder_should_lie_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "inner"):
        with pytest.raises(RequestError, match=r"expected a folder to write to at .*file"):
            make_folder(path)


@contextmanager
def a_small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """Let no file grow beyond so much: what a full disk does, without one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("kind", ["parquet", "csv", "text"])
def test_a_disk_that_takes_no_more_is_a_sentence(kind: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [str(index) * 9 for index in range(9999)]})
    write = {"parquet": frame.write_parquet, "csv": frame.write_csv, "text": lambda path: path.write_bytes(bytes(9999))}
    with a_small_disk(tmp_path, 4), pytest.raises(OutputError) as caught, replacing(tmp_path / "table") as temporary:
        write[kind](temporary)
    assert "table, the system refused: file too large; raise the limit" in str(caught.value)
    assert caught.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_what_a_full_disk_says_names_the_room_that_is_left(tmp_path: Path) -> None:
    told = output_error(OSError(errno.ENOSPC, "No space left on device"), tmp_path / "new" / "table")
    assert re.search(r"write .*/new/table, .*: no space left on device \([\d,.]+ MB free\); free some space", str(told))
    assert output_error(OSError(errno.EROFS, "x", "/a/b")) is not None
    assert output_error(FileNotFoundError(errno.ENOENT, "x", "/a/b")) is None
    assert output_error(ValueError("x")) is None


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.csv") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.stat().st_mode & 0o777 == 0o600
        left = temporary.name
    for name in (left, left.replace("a.csv", "b.csv"), ".mine"):
        (tmp_path / name).touch()
    make_folder(tmp_path, "a.csv")
    assert sorted(path.name[:6] for path in tmp_path.iterdir()) == [".b.csv", ".mine", "a.csv"]
    make_folder(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine", "a.csv"]


def test_pictures_of_errors_are_removed_and_nothing_else(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    remove_pictures(maps)
    maps.mkdir()
    for name in ("0211039e7cfc.npz", "0d0026ff84dc.truncation.jpg"):
        (maps / name).touch()
    (maps / "city.geojson").write_text("mine")
    remove_pictures(maps)
    assert [path.name for path in maps.iterdir()] == ["city.geojson"]
    (maps / "city.geojson").unlink()
    remove_pictures(maps)
    assert not maps.exists()


def test_a_folder_is_one_process_at_a_time_and_nothing_lies_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    with owned(folder):
        with pytest.raises(RequestError, match="another process is at work in it"), owned(folder):
            pass
        assert not list(folder.iterdir())
        folder.rmdir()
    with owned(folder), owned(tmp_path / "other"):
        assert folder.is_dir()


def test_a_killed_process_owns_nothing(tmp_path: Path) -> None:
    words = (
        "import sys, pathlib as p, xai.files as f\nwith f.owned(p.Path(sys.argv[1])): print('held', flush=1), input()"
    )
    command = [sys.executable, "-c", words, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(RequestError), owned(tmp_path):
            pass
        process.kill()
        process.wait()
        with owned(tmp_path):
            pass


def test_a_folder_that_went_while_it_was_waited_for_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, flock, held = tmp_path / "parts", fcntl.flock, []

    def slow(handle: int, how: int) -> None:
        flock(handle, how)
        held.append(os.fstat(handle))
        if len(held) == 1:
            folder.rmdir()

    monkeypatch.setattr(fcntl, "flock", slow)
    with owned(folder):
        assert len(held) == 2
        assert os.path.samestat(held[1], folder.stat())


def test_where_nothing_can_be_locked_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with caplog.at_level(logging.WARNING, "xai"), owned(tmp_path):
        pass
    assert "cannot be locked (no locks available)" in caplog.text


def test_the_end_of_a_table_that_finds_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = pl.exceptions.ComputeError("parquet: File out of specification: Invalid thrift: transport error")
    assert output_error(error, tmp_path / "table") is None, "there is room: the file is broken"
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=4096))
    assert "no space left on device (0.0 MB free)" in str(output_error(error, tmp_path / "table"))
