"""What experiments found out is kept photo by photo, and taken again by the next try."""

import json
from pathlib import Path

import pytest

from attributes.decode import DecodeError
from xai.exceptions import RequestError
from xai.journal import Journal, lost_photos


def ask(journal: Journal, *names: str) -> list[str]:
    """Ask about photos; return those that were not known."""
    asked: list[str] = []
    for name in names:
        told = journal("parts", name, lambda name=name: asked.append(name) or [(name, 0.1 + 0.2, float("inf"), None)])
        assert [list(row) for row in told] == [[name, 0.1 + 0.2, float("inf"), None]]
    return asked


def test_a_second_try_asks_only_what_the_first_did_not(tmp_path: Path) -> None:
    file = tmp_path / "run" / "eval.jsonl"
    assert ask(Journal(file, "one"), "a", "b") == ["a", "b"]
    assert ask(Journal(file, "one"), "a", "b", "c") == ["c"]
    assert ask(Journal(file, "two"), "a") == ["a"], "what all depends on has changed"
    assert [path.name for path in file.parent.iterdir()] == ["eval.jsonl"]


@pytest.mark.parametrize("left", ["", '["parts", "c', "\0\0\0\n", '{"a": 1}\n', "[]\n", "3\n"])
def test_what_a_killed_try_left_half_written_is_dropped(left: str, tmp_path: Path) -> None:
    file = tmp_path / "eval.jsonl"
    ask(Journal(file, "one"), "a", "b")
    with file.open("a") as end:
        end.write(left)
    (tmp_path / ".eval.jsonl.half.xai-part").touch()  # it was being written anew
    assert ask(Journal(file, "one"), "a", "b", "c") == ["c"]
    assert [path.name for path in tmp_path.iterdir()] == ["eval.jsonl"]
    assert [json.loads(line)[1] for line in file.read_text().splitlines()] == ["one", "a", "b", "c"]


def test_photos_that_are_gone_are_told_and_not_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "eval.jsonl", "one")

    def gone() -> None:
        raise DecodeError("photo_missing", "no file")

    assert journal("parts", "a", gone) is None
    assert journal.gone == {"a": "no file"}
    assert ask(Journal(tmp_path / "eval.jsonl", "one"), "a") == ["a"]


def test_a_photo_that_ends_the_process_twice_is_asked_about_no_more(tmp_path: Path) -> None:
    file, mark = tmp_path / "eval.jsonl", tmp_path / "eval.jsonl.begun"

    def killed() -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        journal = Journal(file, "one")
        ask(journal, "a")
        left: list[bytes] = []
        journal("maps", "b", lambda left=left: left.append(mark.read_bytes()))
        mark.write_bytes(left[0])  # as a process leaves it that is killed
        file.write_bytes(b"".join(line for line in file.read_bytes().splitlines(True) if b"maps" not in line))
    journal = Journal(file, "one")
    assert ask(journal, "a", "c") == ["c"], "others that are done first do not let it be forgotten"
    with pytest.raises(KeyboardInterrupt):
        journal("maps", "c", killed)
    assert journal("maps", "b", killed) is None
    assert journal.crashed == {"b"}
    assert lost_photos(journal, "eval").select("image_id", "code").rows() == [("b", "photo_crashes")]
    journal.finish()
    assert not mark.exists()
    assert Journal(file, "one")("parts", "b", killed) is None, "nor by the next run"
    assert Journal(file, "two").crashed == set(), "unless what all depends on has changed"


def test_where_one_photo_after_another_ends_the_process_none_is_to_blame(tmp_path: Path) -> None:
    file, mark = tmp_path / "eval.jsonl", tmp_path / "eval.jsonl.begun"
    Journal(file, "one")
    mark.write_text("".join(json.dumps(["maps", str(index), 2]) + "\n" for index in range(9)))
    journal = Journal(file, "one")
    for index in range(8):
        assert journal("maps", str(index), list) is None
    with pytest.raises(
        RequestError, match=r"8 ended the process .* and 8 is the next: .* delete .*eval\.jsonl and run"
    ):
        journal("maps", "8", list)
    assert len(Journal(file, "one").crashed) == 8


def test_what_belongs_to_another_plan_is_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "eval.jsonl"
    journal = Journal(file, "one")
    ask(journal, "a")
    assert not journal.begun("plan")
    assert journal.under("plan")("maps", "a", lambda: 1) == 1
    again = Journal(file, "one")
    assert again.begun("plan")
    assert again.under("plan")("maps", "a", lambda: 2) == 1
    assert not again.begun("other")
    assert not Journal(file, "one").begun("plan")
    unused = Journal(file, "one")
    unused.finish()
    assert ask(Journal(file, "one"), "a") == ["a"], "nobody asked for it any more"
