"""Label files that change while a run goes on."""

import os
from pathlib import Path

from xai.dataset import watch, yolo


def test_files_that_changed_or_went_are_told(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name in "abcdef":
        (tmp_path / f"images/{name}.jpg").touch()
        (tmp_path / f"labels/{name}.txt").write_text("0 .5 .5 .2 .2\n" if name < "e" else "")
    (tmp_path / "labels/f.txt").unlink()
    (tmp_path / "data.yaml").write_text("val: images\nnames: [car]\n")
    data = yolo.read(tmp_path / "data.yaml", role="eval")
    before = watch.seen(data)
    assert watch.changes(before).is_empty()
    (tmp_path / "labels/a.txt").unlink()
    with (tmp_path / "labels/b.txt").open("a") as file:
        file.write("0 .5 .5 .1 .1\n")
    os.utime(tmp_path / "labels/c.txt", (1, 1))
    (tmp_path / "images/d.jpg").write_bytes(b"another photo")
    for name in "ef":  # which had none
        (tmp_path / f"labels/{name}.txt").write_text("0 .5 .5 .1 .1\n")
    told = watch.changes(before)
    assert told.select("split", "code", "severity", "file").rows() == [
        ("eval", "label_changed", "warning", f"labels/{name}.txt") for name in "abcef"
    ]
