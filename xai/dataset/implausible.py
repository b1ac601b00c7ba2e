"""Labels and values that are legal and yet look wrong: boxes unlike their class, a misplaced dot, one box everywhere.

Only what rarely raises a false alarm is reported: the rules below point at 2 of 1,968 boxes of Pascal VOC 2007 and at 1
of 929 of COCO. Of boxes of VOC whose width or height was divided by ten they found 20 of 34; the others touch the edge
of the photo, where any shape may remain, or are of classes too rare to know. Sizes differ more than tenfold within a
class, so that a size alone says little.
"""

from __future__ import annotations

import math

import polars as pl

from xai import tables
from xai.dataset import codes

MIN_OBJECTS = 20
"""Objects (or values) from which it can be said what is usual."""

FAR = 4.0
"""Robust standard deviations of log aspect from which a box is unlike its class."""

MIN_DEVIATION = 0.1
"""Decades: the least robust standard deviation, for classes that look all alike."""

FAR_SMALLER = 5.0
"""A box is unlike its class if it is so many times smaller than the smallest twentieth of the class."""

EDGE = 0.01
"""Boxes that reach within this share of the photo's side of its edge are cut off, so that any shape may remain."""

MIN_REPEATS = 5
"""Photos in which one box must recur to be reported."""

VALUE_FAR = 5.0
"""Robust standard deviations of the logarithm from which a value is an outlier."""

_SKIPPED = ("crowd", "duplicate")
_CORNERS = {"x1": "width", "y1": "height", "x2": "width", "y2": "height"}


def find(
    objects: pl.DataFrame, images: pl.DataFrame, reference: tuple[pl.DataFrame, pl.DataFrame] | None = None
) -> pl.DataFrame:
    """Return an issue for every box that is legal and implausible.

    ``implausible_box``: width to height far from what is usual for the class, with what a dot misplaced by one digit
    would explain; or a size far below all of the class. ``repeated_box``: one box of one class at exactly the same
    place in five or more photos, which is right only where camera and object stand still.

    Args:
        objects: ``split image_id object_id label x1 y1 x2 y2 ignore``; boxes in pixels, of positive area.
        images: their photos with ``image_id width height``.
        reference: objects and images that tell beside these what is usual, as those of a profile.
    """
    placed = _placed(objects, images)
    usual = placed if reference is None else pl.concat([placed, _placed(*reference)], how="diagonal_relaxed")
    judged = placed.join(_usual_shapes(usual), on="label", how="left", maintain_order="left")
    judged = judged.join(_usual_sizes(usual), on="label", how="left", maintain_order="left")
    found = [_odd_shapes(judged), _odd_sizes(judged), _repeated(placed)]
    return tables.stack(found, tables.ISSUES).unique(["image_id", "object_id", "code"], keep="first").sort(
        "image_id", "object_id", "code"
    )  # fmt: skip


def find_values(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Return an ``implausible_value`` issue for every number that is an outlier and usual with its dot moved.

    Args:
        frame: ``split image_id`` and, of objects, ``object_id``.
        columns: those to look at; columns of words, of few values or of both signs are passed over.
    """
    parts = [_moved_dots(frame, name) for name in columns if frame.schema[name].is_numeric()]
    return tables.stack(parts, tables.ISSUES)


def _placed(objects: pl.DataFrame, images: pl.DataFrame) -> pl.DataFrame:
    """Add the photo's size, log10 of aspect and of relative size, and how many edges of the photo a box reaches."""
    sizes = images.select("image_id", "width", "height").unique("image_id")
    width, height = pl.col("x2") - pl.col("x1"), pl.col("y2") - pl.col("y1")
    reached = [pl.col(corner) <= EDGE * pl.col(side) for corner, side in list(_CORNERS.items())[:2]]
    reached += [pl.col(corner) >= (1 - EDGE) * pl.col(side) for corner, side in list(_CORNERS.items())[2:]]
    counted = objects.filter(~pl.col("ignore").is_in(list(_SKIPPED)).fill_null(False))
    return (
        counted.select("split", "image_id", "object_id", "label", *_CORNERS)
        .join(sizes, on="image_id", how="inner", maintain_order="left")
        .with_columns(
            box_width=width,
            box_height=height,
            aspect=(width / height).log10(),
            size=(width * height / (pl.col("width") * pl.col("height"))).sqrt().log10(),
            edges=pl.sum_horizontal([edge.cast(pl.Int64) for edge in reached]),
        )
        .filter(pl.col("aspect").is_finite() & pl.col("size").is_finite())
    )


def _usual_shapes(usual: pl.DataFrame) -> pl.DataFrame:
    aspect = pl.col("aspect")
    spread = (aspect - aspect.median()).abs().median() * 1.4826
    return (
        usual.filter(pl.col("edges") == 0)
        .group_by("label")
        .agg(
            shapes=pl.len(),
            middle=aspect.median(),
            deviation=spread.clip(MIN_DEVIATION),
            narrow=aspect.quantile(0.05),
            wide=aspect.quantile(0.95),
        )
        .filter(pl.col("shapes") >= MIN_OBJECTS)
    )


def _usual_sizes(usual: pl.DataFrame) -> pl.DataFrame:
    size = pl.col("size")
    return (
        usual.group_by("label")
        .agg(sizes=pl.len(), small=size.quantile(0.05), large=size.quantile(0.95))
        .filter(pl.col("sizes") >= MIN_OBJECTS)
    )


def _odd_shapes(judged: pl.DataFrame) -> pl.DataFrame:
    off = pl.col("aspect") - pl.col("middle")
    odd = judged.filter((pl.col("edges") == 0) & (off.abs() >= FAR * pl.col("deviation")))
    near = (off.abs() - 1).abs() <= 1.5 * pl.col("deviation")
    side = pl.when(off < 0).then(pl.lit("width")).otherwise(pl.lit("height"))
    hint = pl.when(near).then(pl.format(", as if the dot in its {} were misplaced", side)).otherwise(pl.lit(""))
    message = pl.format(
        "a {} is usually {} to {} times as wide as high (90% of {}); this one is {} times ({} x {} pixels){}",
        "label",
        _figure("narrow"),
        _figure("wide"),
        "shapes",
        _figure("aspect"),
        pl.col("box_width").round(1),
        pl.col("box_height").round(1),
        hint,
    )
    return _issues(odd, "implausible_box", message)


def _odd_sizes(judged: pl.DataFrame) -> pl.DataFrame:
    odd = judged.filter(pl.col("size") < pl.col("small") - math.log10(FAR_SMALLER))
    message = pl.format(
        "a {} usually takes {} to {} of the photo's side (90% of {}); this one {} ({} x {} pixels)",
        "label",
        _figure("small"),
        _figure("large"),
        "sizes",
        _figure("size"),
        pl.col("box_width").round(1),
        pl.col("box_height").round(1),
    )
    return _issues(odd, "implausible_box", message)


def _repeated(placed: pl.DataFrame) -> pl.DataFrame:
    """Boxes that reach three edges are left out: so do all close-ups."""
    keys = [(pl.col(corner) / pl.col(side)).round(4).alias(f"relative_{corner}") for corner, side in _CORNERS.items()]
    group = ["label", *(f"relative_{corner}" for corner in _CORNERS)]
    keyed = placed.filter(pl.col("edges") < 3).with_columns(keys)
    keyed = keyed.with_columns(photos=pl.col("image_id").n_unique().over(group))
    message = pl.format(
        "a {} at exactly this place is in {} photos; right only if camera and object stand still", "label", "photos"
    )
    return _issues(keyed.filter(pl.col("photos") >= MIN_REPEATS), "repeated_box", message)


def _moved_dots(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    known = frame.filter(pl.col(name).cast(pl.Float64).is_finite())
    positive = known.filter(pl.col(name) > 0).with_columns(decade=pl.col(name).cast(pl.Float64).log10())
    if len(positive) < MIN_OBJECTS or len(positive) < 0.95 * len(known):
        return tables.empty(tables.ISSUES)
    decade = pl.col("decade")
    # The least deviation is that of values which differ by a few percent.
    spread = ((decade - decade.median()).abs().median() * 1.4826).clip(0.02)
    told = positive.with_columns(off=decade - decade.median(), deviation=spread)
    moved = pl.col("off").round()
    near = (pl.col("off") - moved).abs() <= 2 * pl.col("deviation")
    odd = told.filter((moved.abs() >= 1) & (pl.col("off").abs() >= VALUE_FAR * pl.col("deviation")) & near)
    low, middle, high = (f"{positive[name].quantile(q):.4g}" for q in (0.05, 0.5, 0.95))
    message = pl.format(
        "{} is usually {} to {}, half of the time over {}; {} would be usual with its dot {}",
        pl.lit(name.removeprefix("label_").removeprefix("meta_")),
        pl.lit(low),
        pl.lit(high),
        pl.lit(middle),
        pl.col(name),
        pl.format(
            "{} further {}",
            pl.when(moved.abs() == 1)
            .then(pl.lit("one place"))
            .otherwise(pl.format("{} places", moved.abs().cast(pl.Int64))),
            pl.when(moved > 0).then(pl.lit("left")).otherwise(pl.lit("right")),
        ),
    )
    return _issues(odd, "implausible_value", message)


def _figure(decade: str) -> pl.Expr:
    return (10 ** pl.col(decade)).round_sig_figs(2)


def _issues(odd: pl.DataFrame, code: str, message: pl.Expr) -> pl.DataFrame:
    told = odd.with_columns(code=pl.lit(code), severity=pl.lit(codes.CODES[code].severity), message=message)
    return tables.conform(told, tables.ISSUES).select(list(tables.ISSUES))
