"""What a careless or hostile data set, checkpoint or config can do: a row, an exit code and a sentence, nothing more.

One folder holds one of every bad input, mixed with good photos. The command line triages it once for the whole module.
"""

import io
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import torch
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from photo_files import huge_png
from PIL import Image
from rendered import write_config

import xai
from xai import config
from xai.demo import dataset
from xai.exceptions import ConfigError

CLASSES = ["car", "truck", "person", "<script>alert(2)</script>"]
MARKUP = "<img src=x onerror=alert(1)>.jpg"
GOOD = {"plain.png": "PNG", "Straße 雨.webp": "WEBP", "plain.tif": "TIFF", "plain.bmp": "BMP", "plain.jpg": "JPEG"}

BAD_ROWS = {
    "unparsable_line": "0.5 .5 .5 .2 .2",
    "wrong_field_count": "0 .5 .5 .2",
    "not_a_number": "car .5 .5 .2 .2",
    "not_finite": "0 nan .5 .2 .2",
    "class_out_of_range": "99 .5 .5 .2 .2",
    "normalised_pixel_mixup": "0 160 120 40 40",
    "box_off_photo": "0 1.8 .5 .1 .1",
    "zero_area": "0 .5 .5 0 .2",
    "negative_area": "0 .5 .5 -.2 .2",
    "box_outside_photo": "0 .97 .3 .3 .1",
    "duplicate_box": "0 .2 .2 .1 .1",
}
USED_ALL_THE_SAME = {"box_outside_photo", "duplicate_box"}

BAD_PHOTOS = {
    "empty.jpg": "photo_empty",
    "cut.jpg": "photo_truncated",
    "cut.png": "photo_truncated",
    "cut.webp": "photo_truncated",
    "text.jpg": "photo_unreadable",
    "animation.gif": "photo_unreadable",
    "huge.png": "photo_too_large",
    "gone.jpg": "photo_missing",
}
LEFT_OUT = {"path_leaves_root": 2, "path_not_unicode": 1, "unreadable_label_file": 1}
ODD_PHOTOS = {
    "really a png.jpg": "photo_format_mismatch",
    "plain copy.jpg": "duplicate_photo",
    "trained on.jpg": "leaked_photo",
    "without labels.jpg": "background_photo",
}


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "xai", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)


def encoded(index: int, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(dataset.evaluation_scene(index).pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def rows_of(index: int) -> str:
    """Return the label rows of a rendered scene."""
    scene = dataset.evaluation_scene(index)
    height, width = scene.pixels.shape[:2]
    lines = []
    for label, (x1, y1, x2, y2) in zip(scene.labels, scene.boxes, strict=True):
        center = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height
        lines.append(f"{CLASSES.index(label)} {center[0]} {center[1]} {(x2 - x1) / width} {(y2 - y1) / height}\n")
    return "".join(lines)


def label_file(folder: Path, image_id: str) -> Path:
    return (folder / "eval" / image_id.replace("images/", "labels/")).with_suffix(".txt")


def rows_in(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line.strip()] if file.is_file() else []


def write_bad_inputs(root: Path, trained_on: bytes) -> None:
    """Write a YOLO data set of good photos and one of every bad input."""
    photos, labels = root / "images" / "val", root / "labels" / "val"
    photos.mkdir(parents=True)
    labels.mkdir(parents=True)

    def add(name: str, content: bytes, rows: str) -> None:
        (photos / name).write_bytes(content)
        (labels / name).with_suffix(".txt").write_text(rows, encoding="utf-8")

    for index, (name, kind) in enumerate(GOOD.items()):
        add(f"{index} {name}", encoded(index, kind), rows_of(index))
    add("empty.jpg", b"", rows_of(0))
    for index, (name, kind) in enumerate({"cut.jpg": "JPEG", "cut.png": "PNG", "cut.webp": "WEBP"}.items()):
        content = encoded(index, kind)
        (photos / name).write_bytes(content[: len(content) // 2])
    (labels / "cut.txt").write_text(rows_of(1), encoding="utf-8")
    add("text.jpg", b"<html>404 not found</html>", rows_of(0))
    add("animation.gif", encoded(0, "GIF"), rows_of(0))
    add("huge.png", huge_png(), rows_of(0))
    (labels / "gone.txt").write_text(rows_of(0), encoding="utf-8")
    add("really a png.jpg", encoded(5, "PNG"), rows_of(5))
    add("plain copy.jpg", (photos / "4 plain.jpg").read_bytes(), rows_of(4))
    add("trained on.jpg", trained_on, "")
    (photos / "without labels.jpg").write_bytes(encoded(6, "JPEG"))
    exif = Image.Exif()
    exif[0x0112] = 6
    add("turned.jpg", encoded(7, "JPEG", exif=exif), "0 .5 .5 .2 .2\n")
    add("rows.jpg", encoded(8, "JPEG"), "0 .2 .2 .1 .1\n" + "\n".join(BAD_ROWS.values()) + "\n\n")
    add(MARKUP, encoded(9, "JPEG"), "0 .05 .05 .04 .04\n3 .5 .5 .2 .2\n")
    add("locked.jpg", encoded(10, "JPEG"), "")
    (labels / "locked.txt").unlink()
    (labels / "locked.txt").mkdir()
    (labels / "orphan.txt").write_text(rows_of(0), encoding="utf-8")
    Path(os.fsdecode(os.fsencode(photos) + b"/\xff.jpg")).write_bytes(encoded(11, "JPEG"))
    (root.parent / "outside.jpg").write_bytes(encoded(12, "JPEG"))
    (root / "more.txt").write_text(
        f"images/val/gone.jpg\nimages/val/{MARKUP}\n../outside.jpg\n/etc/passwd\n", encoding="utf-8"
    )
    names = {"path": ".", "val": ["images/val", "more.txt"], "names": CLASSES}
    (root / "data.yaml").write_text(yaml.safe_dump(names), encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a training set that holds one photo labelled in the stored frame, and the bad inputs."""
    root = tmp_path_factory.mktemp("hostile")
    dataset._write_split(root / "train", dataset.training_scene, range(4), lambda done: None)
    trained = sorted((root / "train" / "JPEGImages").iterdir())
    image = Image.open(trained[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(trained[0], exif=exif)
    write_bad_inputs(root / "eval", trained[1].read_bytes())
    data = {"train": {"path": "train", "format": "voc"}, "eval": {"path": "eval", "format": "yolo"}}
    write_config(root / "world.yaml", data=data, explain={"budget": 0})
    return root


@pytest.fixture(scope="module")
def run(folder: Path) -> xai.Run:
    done = command("triage", folder / "world.yaml", "--out", folder / "run", "--set", "data.max_bad=0.99")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "Warning" not in done.stderr
    return xai.Run(folder / "run")


def test_the_run_ends_in_a_report(run: xai.Run) -> None:
    assert run.report.stat().st_size > 10_000
    assert len(run.verdicts) == len(run.errors.filter(pl.col("kind").is_in(["missed", "confused", "mislocated"]))) > 0


def test_every_bad_input_has_its_row(run: xai.Run) -> None:
    issues = run.issues.filter(split="eval")
    found = issues.group_by("image_id", "code").len()
    for name, code in {**BAD_PHOTOS, **ODD_PHOTOS}.items():
        assert found.filter(image_id=f"images/val/{name}", code=code)["len"].to_list() == [1], (name, code)
    for number, code in enumerate(BAD_ROWS, start=2):
        row = issues.filter(image_id="images/val/rows.jpg", code=code)
        assert row["line"].to_list() == [number], code
        assert row["file"].to_list() == ["labels/val/rows.txt"]
        assert (row["severity"].item() == "error") == (code not in USED_ALL_THE_SAME)
    counts = dict(issues.group_by("code").len().iter_rows())
    for code, count in {**LEFT_OUT, "listed_twice": 1, "label_without_photo": 1, "class_not_in_detector": 1}.items():
        assert counts[code] == count, code
    turned = run.issues.filter(split="train", code="label_frame_stored")
    assert len(turned) == 1


def test_no_photo_is_lost_without_a_row(run: xai.Run, folder: Path) -> None:
    images, issues = run.images.filter(split="eval"), run.issues.filter(split="eval")
    on_disk = os.listdir(os.fsencode(folder / "eval" / "images" / "val"))
    left_out = issues.filter(pl.col("code").is_in(["path_not_unicode", "unreadable_label_file"]))
    assert len(on_disk) + 1 == len(images) + len(left_out), "one listed photo is not on disk"
    assert images.filter(status="ok").height + len(BAD_PHOTOS) == len(images)
    unread = images.filter(pl.col("status") != "ok").select("image_id", code="status")
    told = issues.filter(pl.col("code").str.starts_with("photo_"), severity="error").select("image_id", "code")
    assert sorted(unread.rows()) == sorted(told.rows())
    assert not images["image_id"].str.contains("outside|passwd|\\.\\.").any()


def test_no_label_row_is_lost_without_a_row(run: xai.Run, folder: Path) -> None:
    images, issues, objects = (frame.filter(split="eval") for frame in (run.images, run.issues, run.objects))
    for image_id, status in images.select("image_id", "status").iter_rows():
        rows = rows_in(label_file(folder, image_id))
        if status != "ok":  # the photo's own row tells of its labels, too
            assert objects.filter(image_id=image_id).is_empty()
            continue
        lost = issues.filter(pl.col("line").is_not_null(), image_id=image_id, severity="error")
        assert len(rows) == len(objects.filter(image_id=image_id)) + len(lost), image_id


def test_the_funnel_counts_what_was_lost(run: xai.Run, folder: Path) -> None:
    steps = {(step["step"], step["unit"]): step for step in run.info["funnel"]["eval"]}
    lost = steps["read", "photos"]["lost"]
    assert steps["found", "photos"]["count"] - sum(lost.values()) == steps["read", "photos"]["count"]
    assert lost == {**Counter(BAD_PHOTOS.values()), **LEFT_OUT}
    valid = steps["valid", "objects"]
    assert steps["found", "objects"]["count"] - sum(valid["lost"].values()) == valid["count"]
    assert valid["count"] == len(run.objects.filter(split="eval"))
    label_files = [label_file(folder, image_id) for image_id in run.images.filter(split="eval")["image_id"]]
    assert steps["found", "objects"]["count"] == sum(len(rows_in(file)) for file in label_files)


def test_what_data_call_themselves_is_escaped_in_the_report(run: xai.Run) -> None:
    html = run.report.read_text(encoding="utf-8")
    assert "onerror=alert" in html, "the photo's name is told"
    assert "<img src=x" not in html
    assert "<script>alert(2)" not in html


def test_too_much_bad_data_is_exit_3_and_a_sentence(run: xai.Run, folder: Path) -> None:
    shutil.copytree(folder / "run", folder / "refused")  # its photos need not be scanned again
    done = command("triage", folder / "world.yaml", "--out", folder / "refused", "--quiet")
    assert done.returncode == 3
    assert "data.max_bad" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert "Traceback" not in done.stdout + done.stderr


class Exploit:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.marker,))


def test_a_checkpoint_with_code_is_refused_and_not_run(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "was-run"
    torch.save({"model": Exploit(marker), "architecture": "fcos_small"}, tmp_path / "evil.pt")
    weights = f"detector.weights={tmp_path / 'evil.pt'}"
    done = command("triage", folder / "world.yaml", "--out", tmp_path / "run", "--quiet", "--set", weights)
    assert done.returncode == 2
    assert "refused" in done.stderr
    assert "trust_checkpoint" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert not marker.exists()


SCRAPS = ["data:", "eval:", "detector:", "kind:", "torchvision", ": ", "? ", "- ", "\n", "\n  "]
SCRAPS += ["{", "}", "[", "]", "'", '"', "|", "&a", "*a", "<<:", "~", "\\0", "0x", "1e999", "2020-99-99"]
SCRAPS += ["!!int", "!!timestamp", "!!python/name:os.system"]


@given(text=st.text(max_size=60) | st.lists(st.sampled_from(SCRAPS), max_size=14).map("".join), spliced=st.booleans())
@example(text="2020-13-45", spliced=False)
@example(text="!!bool 'x'", spliced=False)
@example(text="!!timestamp 'x'", spliced=True)
@example(text="[" * 5000, spliced=False)
@example(text="9" * 5000, spliced=True)
@example(text='"\\0"', spliced=True)
@example(text="~nobody.of.this.name/x", spliced=True)
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_config_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str, spliced: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    whole = f"data: {{eval: {{path: {text}, format: voc}}}}\ndetector: {{kind: torchvision, weights: a}}\n"
    path.write_bytes((whole if spliced else text).encode("utf-8", "surrogatepass"))
    try:
        loaded = config.load(path)
    except ConfigError as error:
        told = str(error)
        assert len(told) < 10_000
    else:
        assert isinstance(loaded, config.Config)


def test_anchors_that_stand_for_billions_are_a_short_sentence(tmp_path: Path) -> None:
    lists = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lists += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 8)}]" for level in range(1, 12)]
    (tmp_path / "bomb.yaml").write_text("\n".join([*lists, "data: {eval: {path: *a11, format: *a11}}\n"]))
    with pytest.raises(ConfigError, match=r"data\.eval\.path") as caught:
        config.load(tmp_path / "bomb.yaml")
    assert len(str(caught.value)) < 3000
