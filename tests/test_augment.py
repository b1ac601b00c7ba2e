"""Pipelines whose strength follows the bin: what they make is tagged."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from attributes import ATTRIBUTES
from attributes.decode import read
from xai import augment
from xai.causes import CAUSES

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
VOC, YORK = DATA / "voc/train/JPEGImages", DATA / "york"

LEAST = {
    ("brightness", "dark"): 0.8, ("brightness", "bright"): 0.5, ("contrast", "low"): 0.9, ("contrast", "high"): 0.6,
    ("clipped", "much"): 0.6, ("haze", "light"): 0.4, ("haze", "heavy"): 0.9, ("sharpness", "blurred"): 0.7,
    ("sharpness", "soft"): 0.4, ("noise", "moderate"): 0.6, ("noise", "strong"): 0.8, ("jpeg_quality", "low"): 0.9,
    ("jpeg_quality", "medium"): 0.9, ("colorfulness", "grey"): 0.95, ("colorfulness", "vivid"): 0.5,
    ("layout", "portrait"): 1.0, ("layout", "square"): 1.0, ("layout", "landscape"): 1.0, ("layout", "panorama"): 1.0,
    ("rotation", "90"): 0.9, ("rotation", "180"): 0.9, ("rotation", "270"): 0.9, ("roll", "left"): 0.9,
    ("roll", "right"): 0.9,
}  # fmt: skip
"""Recipe of a photo's attribute → least share of photos told as in the bin afterwards, of those that are told."""

TYPICAL = augment.Typical(
    500.0,
    {"brightness": 0.43, "contrast": 0.23, "haze": 0.03, "noise": 0.0, "colorfulness": 34.0, "object_size": 0.29,
     "object_brightness": 0.36, "object_contrast": 15.0, "layout": 1.33, "rotation": 0.0, "glare": 0.1, "roll": 0.1},
)  # fmt: skip
"""Medians of the photos of PASCAL VOC."""


@pytest.fixture(scope="module")
def photos() -> list:
    """Everyday photos."""
    return some(VOC, 20)


@pytest.fixture(scope="module")
def straight() -> list:
    """Photos of buildings, whose upright and tilt can mostly be told."""
    return some(YORK, 2)


def some(folder: Path, step: int) -> list:
    if not folder.is_dir():
        pytest.skip(f"needs the photos of ../shared/data/{folder.relative_to(DATA)}")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))[::step][:20]
    boxes = np.array([[100.0, 60.0, 250.0, 200.0]])
    return [(read(path).pixels, boxes, ["car"]) for path in paths]


def test_every_recipe_of_a_photo_is_measured() -> None:
    recipes = {key for key in augment.RECIPES if ATTRIBUTES[key[0]].level == "image"}
    assert recipes == set(LEAST)


@pytest.mark.parametrize("key", LEAST, ids="=".join)
def test_augmented_photos_land_in_the_bin(key: tuple[str, str], photos: list, straight: list) -> None:
    typical = augment.Typical(500.0, {name: value for name, value in TYPICAL.medians.items() if name != key[0]
                                      or key[0] not in ("layout", "rotation", "roll")})  # fmt: skip
    used = straight if key[0] in ("rotation", "roll") else photos
    found = augment.landing(augment.plan(["=".join(key)], typical), used)
    assert found.known >= 10
    assert found.share >= LEAST[key]
    assert found.share > found.before


@pytest.mark.parametrize("name", ["object_brightness=dark", "object_contrast=low", "object_sharpness=blurred"])
def test_objects_land_too(name: str, photos: list) -> None:
    found = augment.landing(augment.plan([name], TYPICAL), photos)
    assert found.share >= 0.6
    assert found.tried == len(photos)


@pytest.mark.parametrize(("name", "low", "high"), [("tiny", 0.0, 0.05), ("small", 0.05, 0.15)])
def test_zooming_out_hits_the_size_of_a_typical_object(name: str, low: float, high: float) -> None:
    """A box of the typical size lands in the bin every time, and where the pixels of the object are."""
    pixels = np.full((480, 640, 3), 90, dtype=np.uint8)
    side = 0.29 * np.sqrt(480 * 640)
    box = np.array([320 - side / 2, 240 - side / 2, 320 + side / 2, 240 + side / 2])
    pixels[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = 255
    made = augment.plan([f"object_size={name}"], TYPICAL)
    made.pipeline.set_random_seed(1)
    for _ in range(20):
        result = made.pipeline(image=pixels, bboxes=box[None], labels=["car"])
        x1, y1, x2, y2 = result["bboxes"][0]
        assert low <= np.sqrt((x2 - x1) * (y2 - y1) / (480 * 640)) < high
        rows, columns = np.nonzero(result["image"][..., 0] > 200)
        assert (columns.min(), rows.min()) == pytest.approx((x1, y1), abs=2.5)
        assert (columns.max() + 1, rows.max() + 1) == pytest.approx((x2, y2), abs=2.5)


def test_saved_pipelines_load_with_their_boxes(tmp_path: Path) -> None:
    albumentations = augment.import_quietly()
    made = augment.plan(["rotation=90", "noise=strong"], TYPICAL)
    path = tmp_path / "pipeline ü.json"
    augment.save(made, path)
    loaded = albumentations.load(str(path), data_format="json")
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    result = loaded(image=image, bboxes=np.array([[0.0, 0.0, 20.0, 10.0]]), labels=["car"])
    assert result["image"].shape == (60, 40, 3)
    assert result["bboxes"][0] == pytest.approx([0.0, 40.0, 10.0, 60.0], abs=1e-4)
    assert result["labels"] == ["car"]
    assert loaded.to_dict()["transform"]["bbox_params"]["format"] == "pascal_voc"


def test_what_cannot_be_augmented_says_why() -> None:
    for condition, words in [
        ("glare=strong", "scatters in a lens"),
        ("pitch=up", "another camera angle"),
        ("crowding=crowded", "look pasted"),
        ("label_pose=Rear", "what pose says of a photo"),
        ("label=car", "no class can be made of photos of another"),
        ("rotation=0", "most photos are so"),
    ]:
        made = augment.plan([condition], TYPICAL)
        assert made.pipeline is None
        assert words in made.reason
    with pytest.raises(ValueError, match="scatters in a lens"):
        augment.save(augment.plan(["glare=strong"], TYPICAL), Path("never.json"))


def test_a_slice_needs_all_its_conditions() -> None:
    made = augment.plan(["brightness=dark", "label=car", "rotation=0"], TYPICAL)
    assert made.only_label == "car"
    assert dict(made.told_by) == {"brightness": "dark", "rotation": "0"}
    assert augment.plan(["brightness=dark", "glare=strong"], TYPICAL).pipeline is None


def test_every_condition_of_a_cause_has_a_recipe_or_a_reason() -> None:
    """What the causes call augmentable can be augmented, and what they do not is refused."""
    for cause in CAUSES.values():
        for attribute, names in cause.told_by.items():
            for name in names:
                made = augment.plan([f"{attribute}={name}"], TYPICAL)
                assert (made.pipeline is not None) == cause.augmentable, (attribute, name)
                assert made.pipeline is not None or made.reason


def test_landing_counts_the_objects_of_the_class() -> None:
    made = augment.plan(["object_size=tiny", "label=car"], TYPICAL)
    image = np.full((480, 640, 3), 90, dtype=np.uint8)
    boxes = np.array([[200.0, 150.0, 350.0, 300.0], [400.0, 300.0, 600.0, 470.0]])
    found = augment.landing(made, [(image, boxes, ["car", "dog"]), (image, boxes[:1], ["dog"])])
    assert found.tried == 1


def test_unknown_medians_are_said() -> None:
    made = augment.plan(["brightness=dark"], augment.Typical(640.0, {}))
    assert made.pipeline is None
    assert "not known" in made.reason


def test_gaps_of_a_run() -> None:
    from xai import tables
    from xai.coverage.wanted import gaps

    coverage = tables.conform(
        pl.DataFrame(
            {"attribute": ["glare", "glare", "roll"], "bin": ["strong", "strong", "right"], 
             "label": [None, "car", None],
             "assessment": ["coverage_gap", "coverage_gap", "hard"],
             "collect": [None, 12, 5],
             "adjusted_risk_ratio": [2.0, 4.0, 3.0], "miss_count": [30, 8, 9], "eval_count": [90, 20, 30],
             "train_count": [10, 80, 200]}
        ), tables.TABLES["coverage"]
    )  # fmt: skip
    patterns = pl.DataFrame(
        {"pattern": [["glare=strong"], ["roll=left", "label=car"], ["haze=heavy"]], "train_count": [10, 3, 0],
         "eval_count": [90, 10, 4], "miss_count": [30, 5, 0], "collect": [20, 27, 30]}
    )  # fmt: skip
    listed = gaps(
        coverage, tables.empty(tables.TABLES["slices"]), tables.conform(patterns, tables.TABLES["uncovered"]), 0.1
    )
    assert listed.select("gap", "source", "needed", "unit").rows() == [
        ("glare=strong", "coverage", 40, "photos"),
        ("glare=strong & label=car", "coverage", 12, "photos"),
        ("roll=left & label=car", "uncovered", 27, "objects"),
    ]
    assert listed["weight"].to_list() == pytest.approx([15.0, 6.0, 5 * (1 - 0.1 / 0.5)])


def test_a_gap_that_is_rare_by_count_alone_is_wanted_too() -> None:
    """Training has the share but 10 objects; 40 more are 20 photos of two objects each."""
    from xai import tables
    from xai.coverage.wanted import gaps

    figures = {
        "label": None, "assessment": "coverage_gap", "adjusted_risk_ratio": 3.0, "miss_count": 9, "eval_count": 60,
        "eval_photos": 30, "train_count": 10,
    }  # fmt: skip
    rows = [
        {**figures, "attribute": "glare", "bin": "strong", "collect": 0},
        {**figures, "attribute": "haze", "bin": "heavy", "collect": 5},
        {**figures, "attribute": "roll", "bin": "left", "collect": 33},
        {**figures, "attribute": "roll", "bin": "right", "collect": None},
    ]
    coverage = tables.conform(pl.DataFrame(rows, infer_schema_length=None), tables.TABLES["coverage"])
    nothing = [tables.empty(tables.TABLES[name]) for name in ("slices", "uncovered")]
    told = coverage.with_columns(collect_reach=pl.lit(20))
    assert dict(gaps(told, *nothing, 0.1).select("gap", "needed").iter_rows()) == {
        "glare=strong": 20, "haze=heavy": 20, "roll=left": 33, "roll=right": 20
    }  # fmt: skip
    # A table without the second rule: what is short of 50 objects is counted in photos.
    assert dict(gaps(coverage, *nothing, 0.1).select("gap", "needed").iter_rows()) == {
        "glare=strong": 20, "haze=heavy": 5, "roll=left": 33, "roll=right": 20
    }  # fmt: skip
