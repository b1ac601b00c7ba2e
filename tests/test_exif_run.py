"""Photos that are stored turned, with labels in either frame, and detectors that do or do not apply EXIF."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from PIL import Image
from rendered import write_config, write_world

import xai
from attributes.decode import read
from attributes.frames import stored_boxes, stored_pixels

ORIENTATIONS = (1, 6, 3, 8)
MISSES = ["missed", "confused", "mislocated"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with photos stored in several orientations, as PNG, labelled as displayed and as stored."""
    folder = tmp_path_factory.mktemp("exif")
    write_world(folder)
    for name in ("displayed", "stored"):
        for part in ("Annotations", "JPEGImages"):
            (folder / name / part).mkdir(parents=True)
    for index, photo in enumerate(sorted((folder / "eval" / "JPEGImages").iterdir())):
        orientation = ORIENTATIONS[index % len(ORIENTATIONS)]
        pixels = read(photo).pixels
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.fromarray(stored_pixels(pixels, orientation))
        label = (folder / "eval" / "Annotations" / photo.name).with_suffix(".xml")
        for name in ("displayed", "stored"):
            image.save(folder / name / "JPEGImages" / f"{photo.stem}.png", exif=exif)
            tree = ElementTree.parse(label)
            if name == "stored":
                turn(tree, orientation, pixels.shape[1], pixels.shape[0])
            tree.write(folder / name / "Annotations" / label.name)
    return folder


def turn(tree: ElementTree.ElementTree, orientation: int, width: int, height: int) -> None:
    """Write boxes and size as they are in the stored frame."""
    if orientation >= 5:
        sides = {"width": height, "height": width}
        for side, value in sides.items():
            tree.find(f"size/{side}").text = str(value)  # type: ignore[union-attr]
    for box in tree.iter("bndbox"):
        corners = [box.find(name) for name in ("xmin", "ymin", "xmax", "ymax")]
        boxes = np.array([[float(corner.text) for corner in corners]])  # type: ignore[arg-type, union-attr]
        # Corners of PASCAL VOC are counted from 1 at the top left.
        moved = stored_boxes(boxes - [1, 1, 0, 0], orientation, width, height)[0] + [1, 1, 0, 0]
        for corner, value in zip(corners, moved, strict=True):
            corner.text = repr(float(value))  # type: ignore[union-attr]


def triage(folder: Path, data: str, *, exif: str = "apply", budget: int = 0, **more: str) -> pl.DataFrame:
    path = write_config(
        folder / f"{data}.yaml",
        data={"train": None, "eval": {"path": data, "format": "voc", **more}},
        detector={"exif": exif},
        explain={"budget": budget, "maps": 1 if budget else 0},
    )
    run = xai.triage(path, out=folder / f"run {data} {exif} {'-'.join(more.values())}")
    objects = run.objects.filter(pl.col("split") == "eval")
    return objects.with_columns(pl.col("image_id").str.split("/").list.last().str.split(".").list.first())


COLUMNS = ["image_id", "object_id", "x1", "y1", "x2", "y2", "outcome"]


def same(left: pl.DataFrame, right: pl.DataFrame) -> None:
    ours, theirs = (frame.select(COLUMNS).sort("image_id", "object_id") for frame in (left, right))
    assert ours["outcome"].to_list() == theirs["outcome"].to_list()
    corners = [frame.select("x1", "y1", "x2", "y2").to_numpy() for frame in (ours, theirs)]
    np.testing.assert_allclose(*corners, atol=1e-6)


def test_turned_photos_give_the_same_outcomes_as_upright_ones(world: Path) -> None:
    same(triage(world, "eval"), triage(world, "displayed"))


def test_labels_in_the_stored_frame_are_turned(world: Path) -> None:
    upright = triage(world, "eval")
    same(upright, triage(world, "stored", label_frame="stored"))
    # By itself, only a stated size that differs gives the frame away: orientation 3 keeps its own.
    told = triage(world, "stored")
    sizes = {name: index % len(ORIENTATIONS) for index, name in enumerate(sorted(upright["image_id"].unique()))}
    quarter = [name for name, index in sizes.items() if ORIENTATIONS[index] != 3]
    same(upright.filter(pl.col("image_id").is_in(quarter)), told.filter(pl.col("image_id").is_in(quarter)))


def test_labels_on_the_wrong_places_are_told_by_the_detector(world: Path) -> None:
    # Which tests have run before in this process, and left their runs, is not known.
    triage(world, "stored")
    triage(world, "stored", label_frame="stored")
    triage(world, "displayed")
    run = xai.Run(world / "run stored apply ")
    named = run.issues.filter(pl.col("code") == "exif_mismatch")
    turned = run.images.filter((pl.col("split") == "eval") & (pl.col("exif_orientation") == 3))
    assert len(named) >= 1
    assert set(named["image_id"]) <= set(turned["image_id"])
    misses = run.errors.join(named, on="image_id", how="semi").join(run.verdicts, on="error_id")
    assert len(misses) >= 1
    assert set(misses.select("verdict", "cause").unique().rows()) == {("label", "exif_mismatch")}
    assert all("label_frame: stored" in text for text in misses["sentence"])
    assert "exif_mismatch" not in xai.Run(world / "run stored apply stored").issues["code"].to_list()
    sound = xai.Run(world / "run displayed apply ")
    assert "exif_mismatch" not in sound.issues["code"].to_list()


def test_a_detector_that_ignores_exif_misses_what_lies_on_its_side(world: Path) -> None:
    applied = triage(world, "displayed")
    ignored = triage(world, "displayed", exif="ignore", budget=4)
    same(applied.with_columns(outcome=pl.lit("")), ignored.with_columns(outcome=pl.lit("")))
    missed = [frame["outcome"].is_in(MISSES).sum() for frame in (applied, ignored)]
    assert missed[1] > missed[0]
    run = xai.Run(world / "run displayed ignore ")
    assert len(run.verdicts) == missed[1]
    # What is kept for the report is the photo as displayed, which the boxes in the tables belong to.
    sizes = run.errors.join(run.images, on="image_id").select("error_id", "width", "height")
    for error_id, width, height in sizes.join(run.verdicts, on="error_id", how="semi").iter_rows():
        kept = read(run.path / "gallery" / f"{error_id}.jpg")
        assert (kept.width > kept.height) == (width > height)
    boxes = run.errors.join(run.objects, on=["image_id", "object_id"]).join(run.images, on="image_id")
    for path in (run.path / "maps").glob("*.npz"):
        miss = boxes.row(by_predicate=pl.col("error_id") == path.stem, named=True)
        with np.load(path) as heat:
            height, width = heat["saliency"].shape
            sides = {"x1": width / miss["width"], "y1": height / miss["height"]}
            np.testing.assert_allclose(heat["box"][:2], [miss[name] * part for name, part in sides.items()], atol=1)
    assert run.evidence.filter(pl.col("kind") == "repair").height
