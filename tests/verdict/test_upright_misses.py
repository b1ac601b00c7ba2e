"""What the detector tells of turned photos is evidence for their misses and leaves the counts alone."""

import polars as pl
from planted import NO_PREDICTIONS, World, world

from attributes import ATTRIBUTES
from xai import coverage, tables, verdict
from xai.config import Promise


def told(image_ids: list[str], rotation: float) -> pl.DataFrame:
    rows = [(name, rotation, 0.4, 0.98) for name in image_ids]
    return pl.DataFrame(rows, schema=["image_id", "rotation", "alone", "together"], orient="row")


def test_only_what_is_unknown_is_filled_in() -> None:
    images = pl.DataFrame({"image_id": ["a", "b", "c"], "rotation": [None, 90.0, None]})
    bins = pl.DataFrame({"image_id": ["a", "a", "b", "c"], "rotation": ["unknown", "unknown", "90", "unknown"]})
    photos, objects = verdict.with_upright(images, bins, told(["a", "b"], 180.0))
    assert photos.rows() == [("a", 180.0), ("b", 90.0), ("c", None)]
    assert objects["rotation"].to_list() == ["180", "180", "90", "unknown"]
    assert {part.name for part in ATTRIBUTES["rotation"].bins} == {"0", "90", "180", "270"}
    for same in ((images, bins, told([], 0.0)), (images.drop("rotation"), bins, told(["a"], 0.0))):
        assert [frame.equals(other) for frame, other in zip(verdict.with_upright(*same), same[:2], strict=True)] == [
            True,
            True,
        ]


def test_upright_photos_leave_no_line() -> None:
    errors = world(1, 20, {}, base=0.3).errors
    names = errors["image_id"].unique().sort().to_list()
    lines = verdict.upright_lines(pl.concat([told(names[:1], 0.0), told(names[1:2], 270.0)]), errors)
    assert lines.schema == pl.Schema(tables.TABLES["evidence"])
    expected = errors.filter(pl.col("image_id") == names[1])["error_id"].to_list()
    assert lines["error_id"].to_list() == expected
    assert set(lines.select("kind", "name", "before", "after").rows()) == {("upright", "rotation", 0.4, 0.98)}


def judged(side: World, told_: pl.DataFrame) -> tuple[coverage.Analysis, pl.DataFrame, pl.DataFrame]:
    found = coverage.analyse(None, side, train_detected=False)
    images, bins = verdict.with_upright(side.images, found.bins, told_)
    errors = side.errors.drop("truth")
    arguments = (errors, side.objects, images, found.coverage)
    lines = verdict.rank(*arguments, bins=bins, measured=found.bins)
    promises = coverage.promise(side.objects, NO_PREDICTIONS, Promise())
    verdicts = verdict.judge(
        *arguments, lines, bins=bins, promises=promises, score_threshold=0.25, is_training_set=True
    )
    return found, lines, verdicts


def test_a_miss_in_a_photo_that_the_detector_takes_for_turned_is_explained() -> None:
    side = world(3, 600, {("rotation", "90"): (0.1, 0.5)})
    turned = side.images.filter(pl.col("rotation") > 45)["image_id"].to_list()
    missed = side.errors.filter(pl.col("truth") == "rotation")["image_id"].unique().sort().to_list()
    # The attribute tells nothing of every other turned photo, found objects or not.
    hidden = turned[::2]
    blank = side.images.with_columns(
        rotation=pl.when(pl.col("image_id").is_in(hidden)).then(None).otherwise("rotation")
    )
    blind = World(blank, side.objects, side.errors)
    asked = [name for name in missed if name in hidden]
    before, _, unexplained = judged(blind, told([], 0.0))
    after, lines, explained = judged(blind, told(asked, 90.0))
    assert before.coverage.equals(after.coverage)
    ours = side.errors.filter((pl.col("truth") == "rotation") & pl.col("image_id").is_in(hidden))["error_id"]
    assert "rotation" not in unexplained.filter(pl.col("error_id").is_in(ours.implode()))["cause"].to_list()
    causes = explained.filter(pl.col("error_id").is_in(ours.implode()))["cause"].to_list()
    assert len(causes) >= 20
    assert causes.count("rotation") > 0.9 * len(causes)
    # The risk of turned photos is that of the photos that were told alike, found or not.
    risk = lines.filter((pl.col("kind") == "joint_risk") & (pl.col("name") == "rotation"))["after"].unique()
    assert len(risk) == 1
