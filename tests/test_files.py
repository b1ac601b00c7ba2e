"""Files that appear whole or not at all, and folders to write to."""

from pathlib import Path

import pytest

from xai.exceptions import RequestError
from xai.files import make_folder, replacing


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
