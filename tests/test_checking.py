"""``xai check``: what the owner of the data and a program read of it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

import xai
from xai.exceptions import ConfigError, DataError, RunError

COCO = Path(__file__).resolve().parents[1].parent / "shared/data/coco"


def photo(path: Path, seed: int, size: tuple[int, int] = (64, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make(folder: Path, names: list[str], rows: list[list[str]], *, first: int = 0) -> Path:
    """A YOLO data set with one photo for each list of label rows."""
    for index, lines in enumerate(rows, start=first):
        photo(folder / f"images/{index:03d}.png", index)
        (folder / "labels").mkdir(exist_ok=True)
        (folder / f"labels/{index:03d}.txt").write_text("".join(f"{line}\n" for line in lines))
    (folder / "data.yaml").write_text(yaml.safe_dump({"train": "images", "names": names}, allow_unicode=True))
    return folder


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profile")
    rows = [["0 0.5 0.5 0.4 0.2", "1 0.3 0.3 0.1 0.2"] for _ in range(24)]
    xai.profile(make(folder / "data", ["car", "traffic light"], rows), out=folder / "profile", workers=1)
    return folder / "profile"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xai", "check", *map(str, arguments), "--quiet"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_good_data_is_usable_and_has_nothing_to_say(tmp_path: Path) -> None:
    found = xai.check(make(tmp_path / "good", ["car"], [["0 0.5 0.5 0.4 0.2"], ["0 0.4 0.5 0.4 0.2"]]), workers=1)
    assert found.usable
    assert found.tickets == ()
    assert found.lines() == [
        f"{tmp_path / 'good'} (yolo): 2 photos, 2 label rows, 1 class (car 2)", "no problems found", "",
        "usable: nothing is lost",
    ]  # fmt: skip
    assert found.classes == {"car": 2}
    assert found.markdown().count("##") == 0


def test_every_problem_is_a_ticket_with_its_places(tmp_path: Path) -> None:
    rows = [["0 0.5 0.5 0.4 0.2"], ["0 0.5 0.5 0 0.2", "7 0.5 0.5 0.1 0.1", "0 0.5 nan 0.1 0.1"], []]
    folder = make(tmp_path / "bad<b>", ["car"], rows)
    shutil.copy(folder / "images/000.png", folder / "images/copy.png")
    (folder / "images/empty.png").write_bytes(b"")
    found = xai.check(folder, workers=1)
    by_code = {ticket.code: ticket for ticket in found.tickets}
    assert {"zero_area", "class_out_of_range", "not_finite", "photo_empty", "duplicate_photo"} <= set(by_code)
    assert by_code["zero_area"].extent == "1 of 4 label rows (25.0%), in 1 photo"
    assert by_code["zero_area"].examples[0].place == "labels/001.txt:1"
    assert by_code["photo_empty"].extent == "1 of 5 photos (20.0%)"
    severities = [ticket.severity for ticket in found.tickets]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert not found.usable
    assert found.lost == pytest.approx({"photos": 0.2, "objects": 0.75})
    assert set(found.issues["code"]) == set(by_code)
    assert "## The box has no area" in found.markdown()
    assert "bad&lt;b&gt;" in found._repr_html_()
    assert xai.check(folder, workers=1, max_bad=0.8).usable


def test_classes_boxes_and_photos_are_compared_with_a_profile(tmp_path: Path, profile: Path) -> None:
    rows = [["0 0.5 0.5 0.4 0.2", "1 0.3 0.3 0.1 0.2"] for _ in range(3)]
    rows += [["0 0.5 0.5 0.02 0.2", "2 0.7 0.7 0.1 0.1"]]
    folder = make(tmp_path / "new", ["car", "Traffic_Lights", "zeppelin"], rows, first=23)
    found = xai.check(folder, against=profile, workers=1)
    codes = {ticket.code: ticket for ticket in found.tickets}
    assert found.mapping == {"Traffic_Lights": "traffic light"}
    assert yaml.safe_load(found.mapping_yaml) == {"data": {"classes": {"Traffic_Lights": "traffic light"}}}
    assert {"class_renamed", "class_new", "implausible_box", "leaked_photo"} <= set(codes)
    assert codes["leaked_photo"].count == 1
    assert codes["implausible_box"].examples[0].place == "labels/026.txt:1"
    assert "Traffic_Lights: traffic light" in "\n".join(found.lines())
    assert "```yaml" in found.markdown()
    with pytest.raises(RunError, match=r"found no run\.json"):
        xai.check(folder, against=tmp_path, workers=1)


def test_places_in_a_file_of_all_labels_name_the_photo_and_the_object(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.png", 0)
    photo(tmp_path / "images/b.png", 1)
    (tmp_path / "images/cut.png").write_bytes((tmp_path / "images/a.png").read_bytes()[:500])
    boxes = [[10, 10, 20, 20], [10, 10, 0, 20]]
    annotations = [{"id": n, "image_id": 1, "category_id": 0, "bbox": box} for n, box in enumerate(boxes)]
    images = [{"id": n, "file_name": f"{name}.png"} for n, name in enumerate(("a", "b", "cut"))]
    images[1] |= {"width": 640, "height": 480}
    images += [{"id": 7, "file_name": "../x.png"}, {"id": 8, "file_name": "../y.png"}, {"file_name": "a.png"}, {}]
    document = {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "car"}]}
    (tmp_path / "labels.json").write_text(json.dumps(document))
    codes = {ticket.code: ticket for ticket in xai.check(tmp_path, workers=1).tickets}
    labels = (tmp_path / "labels.json").as_posix()
    assert codes["zero_area"].examples[0].place == f"b.png object 1 in {labels}"
    assert codes["size_mismatch"].examples[0].place == f"b.png in {labels}"
    assert codes["path_leaves_root"].extent == "2 entries"
    assert codes["photo_without_name"].extent == "2 entries"
    (cut,) = codes["photo_truncated"].examples
    assert cut.place == "cut.png"
    assert str(tmp_path) not in cut.message


def test_metadata_is_checked_too(tmp_path: Path) -> None:
    folder = make(tmp_path / "data", ["car"], [["0 0.5 0.5 0.4 0.2"]] * 24)
    speeds = [str(50 + index % 7) for index in range(24)]
    speeds[5] = "512"
    lines = "".join(f"images/{index:03d}.png,{speed}\n" for index, speed in enumerate(speeds))
    (tmp_path / "known.csv").write_text(f"image_id,speed\n{lines}images/gone.png,50\n")
    found = xai.check(folder, known=tmp_path / "known.csv", workers=1)
    codes = {ticket.code: ticket for ticket in found.tickets}
    assert codes["implausible_value"].count == 1
    assert codes["implausible_value"].examples[0].message.startswith("speed is usually 50 to 56")
    assert codes["metadata_without_photo"].unit == "files"
    assert "--metadata" in found.again
    assert found.known == {"speed": "number"}
    assert "metadata, as read: speed (number)" in found.lines()
    (tmp_path / "known.csv").write_text("image_id,speed\nimages/000.png\n")
    scanned = []
    with pytest.raises(DataError, match=r"known\.csv line 2: expected 2 fields"):
        xai.check(folder, known=tmp_path / "known.csv", progress=lambda *call: scanned.append(call))
    assert not scanned


def test_a_place_where_nothing_is_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found nothing there"):
        xai.check(tmp_path / "nowhere")


def test_the_command_line(tmp_path: Path) -> None:
    good = make(tmp_path / "good", ["car"], [["0 0.5 0.5 0.4 0.2"]])
    bad = make(tmp_path / "bad", ["car"], [["0 0.5 0.5 0.4 0.2", "0 0.5 0.5 0 0.2"]])
    done = run(good)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("usable: nothing is lost\n")
    done = run(bad, "--format", "csv")
    assert done.returncode == 3
    assert pl.read_csv(done.stdout.encode())["code"].to_list() == ["zero_area"]
    done = run(bad, "--json", "--max-bad", "0.5")
    assert done.returncode == 0
    issue, last = (json.loads(line) for line in done.stdout.splitlines())
    assert (issue["code"], issue["count"], issue["total"]) == ("zero_area", 1, 2)
    assert (last["event"], last["usable"], last["objects_kept"]) == ("done", True, 1)
    assert run(bad, "--format", "md").stdout.startswith("# Data check of bad\n")
    done = run(bad, "--format", "voc")
    assert done.returncode == 2
    assert "the data set's is --data-format" in done.stderr


@pytest.mark.skipif(not COCO.is_dir(), reason="needs ../shared/data/coco")
def test_labels_numbered_by_another_scheme_are_told() -> None:
    found = xai.check(COCO, workers=2)
    codes = {ticket.code: ticket for ticket in found.tickets}
    assert not found.usable
    assert codes["class_out_of_range"].count > 300
    assert len({example.file for example in codes["class_out_of_range"].examples}) == 20
    assert "class_numbers_with_gaps" in codes
    assert codes["implausible_box"].count <= 0.005 * 929
