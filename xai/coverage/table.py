"""The coverage table: every bin's share of misses, evaluation and training set, its risk, and what to make of it."""

from __future__ import annotations

import numpy as np
import polars as pl
import polars.selectors as cs

from xai import tables
from xai.catalog import OF_DETECTOR
from xai.coverage import collect
from xai.coverage.assess import ELEVATED_RATIO, FAMILIES, Counts, assess
from xai.coverage.bins import UNKNOWN, Catalog, UserBins, bin_names, is_of_photos
from xai.coverage.cells import Cells, Layout
from xai.coverage.intervals import Bools, Floats, Integers, Rates, false_discovery, rates_of
from xai.coverage.misread import COLUMNS, Misread, misread, widen_rates, widen_ratios, widen_shares
from xai.coverage.ratios import Ratios, compare
from xai.coverage.sample import Sample, Side
from xai.rules import RARE_COUNT

UNBOUNDED = 1e4
"""A ratio beyond this is no figure but the lack of one: a rate that might as well be zero was divided by."""

MIN_LABEL_OBJECTS = 30
"""Labels with fewer scored evaluation objects have no rows of their own."""


def tabulate(
    train: Sample | None, evaluation: Sample, catalog: Catalog, user: UserBins, *, labels: bool = True
) -> pl.DataFrame:
    """Return the coverage table: columns of ``tables.TABLES["coverage"]``, ``misread.COLUMNS``, ``collect.COLUMNS``.

    Rows with a null ``label`` are over all objects, all bins of the catalog and of the user's columns, and ``unknown``
    where it occurs; further rows per label of at least 30 scored evaluation objects, for the bins that occur. Counts
    and shares are of scored objects, ``unknown`` included, so that the shares of an attribute add up to 1; training's
    are, of an attribute that the detector tells, of the objects in photos that it was run on. Photo counts
    of image attributes over all labels include photos without objects. The risk ratio compares a bin with the other
    known bins; the adjusted one is Mantel–Haenszel over object size × label (for ``object_size`` over labels, per label
    over sizes), standardisation and no regression: one closed form for all bins at once that nothing keeps from
    converging, right in many thin strata too, and a ratio of risks, not of odds. q-values are
    Benjamini–Hochberg over the adjusted ratios' p-values, one family over all labels and one of the rows per label,
    times three: with the slices three families are asked, and a run without any cause reports none of them in 19 of 20
    cases. An infinite upper bound is null.

    Intervals of ratios, of miss rates and of shares (``train_share_low`` and so on, of objects, 95% over photos) are
    widened by the measured error of the bin, as ``misread`` says; figures, p- and q-values are of the bins as told.
    ``tag_error`` is the share of the values told as in the bin that were measured to lie in another.

    ``assessment`` (null for ``unknown``), the first that applies:

    - ``coverage_gap``: elevated (q ≤ 0.05, adjusted ratio ≥ 1.5), rare in training (under half of the evaluation share
      or under 50 objects; by share alone for novelty, whose bins are percentiles of training), and not elevated among
      the training objects (ratio ≥ 1.5 with a 95% interval above 1, told only by 50 or more objects: a few examples
      that fail too were not enough to learn from);
    - ``hard``: elevated otherwise; also without a training set, where nothing can be called rare;
    - ``too_few``: the adjusted interval allows 3, and it or the q-value allows 1; or nothing can be compared;
    - ``rare_harmless``: rare in training;
    - ``fine``.

    ``collect`` is the number of photos of this kind that bring training's share up to the evaluation set's: of photos
    for image attributes, of objects for the others; the figures beside it and the misses that may be avoided are those
    of ``collect.needed`` and ``collect.avoided``. Null where the bin is not rare or no number of photos does it.

    Args:
        train: the training set, or None; where the detector was not asked its miss rates are null.
        evaluation: the evaluation set.
        catalog: attributes by name.
        user: bins of the user's columns.
        labels: also one block of rows per label.
    """
    right = Side.of(evaluation.where(evaluation.asked))
    left = Side.of(train) if train else None
    families = [_family(None, left, right, catalog, user)]
    if labels:
        families.append(_family(_frequent_labels(right.sample), left, right, catalog, user))
    told = [
        assess(family.with_columns(collect.avoided()), pl.col("bin") != UNKNOWN) for family in families if len(family)
    ]
    table = tables.stack(told, tables.TABLES["coverage"])
    further = {**COLUMNS, **collect.COLUMNS}
    return table.select(*tables.TABLES["coverage"], *(pl.col(name).cast(dtype) for name, dtype in further.items()))


def _frequent_labels(sample: Sample) -> list[str]:
    counts = np.bincount(sample.label, minlength=len(sample.labels))
    return [name for name, count in zip(sample.labels, counts, strict=False) if count >= MIN_LABEL_OBJECTS]


def _family(
    labels: list[str] | None, train: Side | None, evaluation: Side, catalog: Catalog, user: UserBins
) -> pl.DataFrame:
    if labels is not None and not labels:
        return pl.DataFrame()
    right, left = Layout.of(evaluation, labels), Layout.of(train, labels) if train else None
    names = list(evaluation.sample.codes)
    # What the detector tells is known of the training photos that it was run on: those are the base of its shares.
    detected = left
    if train and any(name in OF_DETECTOR for name in names):
        detected = Layout.of(Side.of(train.asked), labels)
    bases = [detected if name in OF_DETECTOR else left for name in names]
    blocks = [_block(name, labels, base, right, catalog, user) for name, base in zip(names, bases, strict=True)]
    if not blocks:
        return pl.DataFrame()
    frame = pl.concat(blocks).with_columns(cs.float().fill_nan(None))
    if labels is not None:
        frame = frame.sort(pl.col("label").cast(pl.Enum(labels)), maintain_order=True)
    q_values = false_discovery(frame["p_value"].fill_null(np.nan).to_numpy(), FAMILIES)
    return frame.with_columns(q_value=pl.Series(q_values).fill_nan(None))


def _block(
    attribute: str,
    labels: list[str] | None,
    train: Layout | None,
    evaluation: Layout,
    catalog: Catalog,
    user: UserBins,
) -> pl.DataFrame:
    """Rows of one attribute, label after label, NaN for null; assessment and q-value are still to come."""
    names = bin_names(attribute, catalog, user)
    image_level = is_of_photos(attribute, catalog)
    told = misread(attribute, len(names), catalog)
    shape = (1 if labels is None else len(labels), len(names))
    columns: dict[str, Floats | Bools] = {"tag_error": np.broadcast_to(told.error, shape)}
    count_photos = image_level and labels is None
    here = Cells.of(evaluation, attribute, len(names))
    ours = _counts(evaluation, attribute, here, count_photos)
    seen = ours.objects > 0
    theirs = None
    if train is not None and attribute in train.side.sample.codes:
        there = Cells.of(train, attribute, len(names))
        theirs = _counts(train, attribute, there, count_photos)
        seen |= theirs.objects > 0
        columns |= theirs.columns("train") | _training_risk(train, there)
        columns |= _share_bounds(train, there, told, "train")
    columns |= ours.columns("eval") | _share_bounds(evaluation, here, told, "eval")
    columns |= _risk(evaluation, here, told)
    columns |= collect.needed(theirs, ours, photos_only=image_level)
    shown: list[str | None] = [None] if labels is None else [*labels]
    always = labels is None and attribute in catalog
    keep = seen | np.array([always and name != UNKNOWN for name in names])
    return (
        pl.DataFrame(
            {
                "bin": np.tile(np.array(names, dtype=np.object_), shape[0]),
                "label": pl.Series(np.repeat(np.array(shown, dtype=np.object_), len(names)), dtype=pl.String),
                **{name: np.ravel(values) for name, values in columns.items()},
            },
            schema_overrides={"bin": pl.String},
        )
        .filter(pl.Series(keep.ravel()))
        .select(
            pl.lit(attribute).alias("attribute"),
            "bin",
            "label",
            pl.lit("image" if image_level else "object").alias("level"),
            *[
                (pl.col(name) if name in columns else pl.lit(None)).cast(dtype).alias(name)
                for name, dtype in _FIGURES.items()
            ],
        )
    )


_FIGURES: dict[str, pl.DataType | type[pl.DataType]] = {
    **{
        name: dtype
        for name, dtype in tables.TABLES["coverage"].items()
        if name not in {"attribute", "bin", "label", "level", "q_value", "assessment"}
    },
    **dict.fromkeys(("collect", "collect_objects", "collect_reach", "collect_reach_objects"), pl.Float64),
    "train_elevated": pl.Boolean,
    "p_value": pl.Float64,
    **COLUMNS,
}


def _counts(layout: Layout, attribute: str, cells: Cells, count_photos: bool) -> Counts:
    codes = layout.side.sample.image_codes
    return cells.counts.with_photos(codes[attribute]) if count_photos else cells.counts


def _share_bounds(layout: Layout, cells: Cells, told: Misread, side: str) -> dict[str, Floats | Bools]:
    """Return ``SIDE_share_low`` and ``SIDE_share_high``."""
    found = rates_of(cells.shares, 1.0, 0.025, layout.draws.units)
    low, high = widen_shares(found.low, found.high, told)
    return {f"{side}_share_low": low, f"{side}_share_high": high}


def _risk(layout: Layout, cells: Cells, told: Misread) -> dict[str, Floats | Bools]:
    """Misses, miss rates and risk ratios per label and bin (G, K); ratios of the last bin, ``unknown``, are NaN."""
    rate = rates_of(cells.rates, layout.side.correlation, 0.025, layout.asked.units)
    objects, misses = cells.rates.size, cells.rates.lost
    crude, adjusted = _compared(layout, cells, [None, cells.asked.stratum])
    rate_low, rate_high = _widened_rates(rate, objects, misses, told)
    size = objects[:, :-1]
    crude_low, crude_high = _widened(crude, size, told)
    adjusted_low, adjusted_high = _widened(adjusted, size, told)
    with np.errstate(invalid="ignore"):
        share = misses / misses.sum(axis=1, keepdims=True)
    return {
        "miss_count": misses,
        "miss_photos": cells.miss_photos,
        "miss_share": share,
        "miss_rate": rate.rate,
        "miss_rate_low": rate_low,
        "miss_rate_high": rate_high,
        "risk_ratio": _tested(crude.ratio),
        "risk_ratio_low": _tested(crude_low),
        "risk_ratio_high": _tested(crude_high),
        "adjusted_risk_ratio": _tested(adjusted.ratio),
        "adjusted_low": _tested(adjusted_low),
        "adjusted_high": _tested(adjusted_high),
        "p_value": _tested(adjusted.p_value),
    }


def _compared(layout: Layout, cells: Cells, strata: list[Integers | None]) -> list[Ratios]:
    """Compare each known bin with the other known ones, under each stratification."""
    kinds, icc = cells.asked, layout.side.correlation
    known = kinds.inside(cells.rates.size.shape[1] - 1)
    compared = np.asarray(known.any(axis=1))[:, None]
    return compare(known, compared, kinds.miss, kinds.counts, strata, icc=icc, groups=kinds.grouping)


def _widened_rates(rate: Rates, objects: Floats, misses: Floats, told: Misread) -> tuple[Floats, Floats]:
    """Bounds (G, K), of the known bins widened by how these are told."""
    known = objects[:, :-1].sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        share = np.append(objects[:, :-1] / known, np.zeros((len(known), 1)), axis=1)
        overall = misses[:, :-1].sum(axis=1, keepdims=True) / known
    return widen_rates(rate.low, rate.high, share, overall, told)


def _widened(found: Ratios, size: Floats, told: Misread) -> tuple[Floats, Floats]:
    """Bounds of the known bins (G, K − 1) of ``size`` objects, widened by how these are told."""
    share = size / np.maximum(size.sum(axis=1, keepdims=True), 1)
    bins = Misread(told.missed[:-1], told.stray[:-1], told.error[:-1])
    return widen_ratios(found.low, found.high, share, bins)


def _training_risk(layout: Layout, cells: Cells) -> dict[str, Floats | Bools]:
    """Miss rate per bin among the training objects that the detector was asked about, and whether it is elevated."""
    size, misses = cells.rates.size, cells.rates.lost
    with np.errstate(invalid="ignore"):
        rate = misses / size
    if not len(layout.side.asked.photo):
        return {"train_miss_rate": rate, "train_elevated": np.zeros(rate.shape, dtype=np.bool_)}
    (ratios,) = _compared(layout, cells, [cells.asked.stratum])
    elevated = (ratios.ratio >= ELEVATED_RATIO) & (ratios.low > 1) & (size[:, :-1] >= RARE_COUNT)
    return {
        "train_miss_rate": rate,
        "train_elevated": np.concatenate([elevated, np.zeros((len(elevated), 1), dtype=np.bool_)], axis=1),
    }


def _tested(values: Floats) -> Floats:
    """The figures of the known bins, NaN for bounds that the data do not set and for ``unknown``, which comes last."""
    return np.append(np.where(values <= UNBOUNDED, values, np.nan), np.full((len(values), 1), np.nan), axis=1)
