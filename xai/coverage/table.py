"""The coverage table: every bin's share of misses, evaluation and training set, its risk, and what to make of it."""

from __future__ import annotations

import numpy as np
import polars as pl
import polars.selectors as cs

from xai import tables
from xai.coverage.assess import ELEVATED_RATIO, Counts, assess, held, photos_to_collect
from xai.coverage.bins import UNKNOWN, Catalog, UserBins, bin_names, is_of_photos
from xai.coverage.intervals import Bools, Floats, Integers, Ratios, false_discovery, rates, risk_ratios, shares
from xai.coverage.misread import COLUMNS, Misread, misread, widen_ratios, widen_shares
from xai.coverage.sample import Sample, Side, strata
from xai.rules import RARE_COUNT

UNBOUNDED = 1e4
"""A ratio beyond this is no figure but the lack of one: a rate that might as well be zero was divided by."""

MIN_LABEL_OBJECTS = 30
"""Labels with fewer scored evaluation objects have no rows of their own."""


def tabulate(
    train: Sample | None, evaluation: Sample, catalog: Catalog, user: UserBins, *, labels: bool = True
) -> pl.DataFrame:
    """Return the coverage table, columns as in ``tables.TABLES["coverage"]``, then ``misread.COLUMNS``.

    Rows with a null ``label`` are over all objects, all bins of the catalog and of the user's columns, and ``unknown``
    where it occurs; further rows per label of at least 30 scored evaluation objects, for the bins that occur. Counts
    and shares are of scored objects, ``unknown`` included, so that the shares of an attribute add up to 1; photo counts
    of image attributes over all labels include photos without objects. The risk ratio compares a bin with the other
    known bins; the adjusted one is Mantel–Haenszel over object size × label (for ``object_size`` over labels, per label
    over sizes). q-values are Benjamini–Hochberg over the adjusted ratios' p-values, one family over all labels and one
    of the rows per label. An infinite upper bound is null.

    Intervals of ratios and of shares (``train_share_low`` and so on, of objects, 95% over photos) are widened by the
    measured error of the bin, as ``misread`` says; figures, p-values and q-values are of the bins as told.
    ``tag_error`` is the share of the values told as in the bin that were measured to lie in another.

    ``assessment`` (null for ``unknown``), the first that applies:

    - ``coverage_gap``: elevated (q ≤ 0.05, adjusted ratio ≥ 1.5), rare in training (under half of the evaluation share
      or under 50 objects), and not elevated among the training objects (ratio ≥ 1.5 with a 95% interval above 1, told
      only by 50 or more objects: a few examples that fail too were not enough to learn from);
    - ``hard``: elevated otherwise; also without a training set, where nothing can be called rare;
    - ``too_few``: the adjusted interval allows 3, and it or the q-value allows 1; or nothing can be compared;
    - ``rare_harmless``: rare in training;
    - ``fine``.

    ``collect`` is the number of photos of this kind that bring training's share up to the evaluation set's: of photos
    for image attributes, of objects for the others, where a new photo is taken to hold as many objects as the
    evaluation photos of this bin do. Null where the bin is not rare or no number of photos does it.

    Args:
        train: the training set, or None; where the detector was not asked its miss rates are null.
        evaluation: the evaluation set.
        catalog: attributes by name.
        user: bins of the user's columns.
        labels: also one block of rows per label.
    """
    attributes = list(evaluation.codes)
    left = Side.of(train) if train else None
    right = Side.of(evaluation.where(evaluation.asked))
    families = [_family([None], attributes, left, right, catalog, user)]
    if labels:
        families.append(_family(_frequent_labels(right.sample), attributes, left, right, catalog, user))
    table = tables.stack(
        [assess(family, pl.col("bin") != UNKNOWN) for family in families if len(family)], tables.TABLES["coverage"]
    )
    return table.select(*tables.TABLES["coverage"], *(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items()))


def _frequent_labels(sample: Sample) -> list[str | None]:
    counts = sample.objects["label"].value_counts().filter(pl.col("count") >= MIN_LABEL_OBJECTS)
    return sorted(counts["label"].drop_nulls().to_list())


def _family(
    labels: list[str | None],
    attributes: list[str],
    train: Side | None,
    evaluation: Side,
    catalog: Catalog,
    user: UserBins,
) -> pl.DataFrame:
    blocks: list[pl.DataFrame] = []
    for label in labels:
        left = train.of_label(label) if train and label is not None else train
        right = evaluation.of_label(label) if label is not None else evaluation
        blocks.extend(_block(name, label, left, right, catalog, user) for name in attributes)
    if not blocks:
        return pl.DataFrame()
    frame = pl.concat(blocks).with_columns(cs.float().fill_nan(None))
    q_values = false_discovery(frame["p_value"].fill_null(np.nan).to_numpy())
    return frame.with_columns(q_value=pl.Series(q_values).fill_nan(None))


def _block(
    attribute: str, label: str | None, train: Side | None, evaluation: Side, catalog: Catalog, user: UserBins
) -> pl.DataFrame:
    """Rows of one attribute and label, NaN for null; assessment and q-value are still to come."""
    names = bin_names(attribute, catalog, user)
    image_level = is_of_photos(attribute, catalog)
    count_photos = image_level and label is None
    by_label, by_size = label is None, attribute != "object_size"
    told = misread(attribute, len(names), catalog)
    columns: dict[str, Floats | Integers | Bools] = {"tag_error": told.error}
    ours = Counts.of_attribute(evaluation.sample, attribute, len(names), count_photos)
    seen = ours.objects > 0
    theirs = None
    if train is not None and attribute in train.sample.codes:
        theirs = Counts.of_attribute(train.sample, attribute, len(names), count_photos)
        seen |= theirs.objects > 0
        risk, elevated = _training_risk(train, attribute, len(names), by_label=by_label, by_size=by_size)
        columns |= theirs.columns("train") | {"train_miss_rate": risk, "train_elevated": elevated}
        columns |= _share_bounds(train.sample, attribute, told, "train")
    columns |= ours.columns("eval") | _share_bounds(evaluation.sample, attribute, told, "eval")
    columns |= _risk(evaluation, attribute, told, by_label=by_label, by_size=by_size)
    columns["collect"] = photos_to_collect(theirs, ours, photos_only=image_level)
    always = label is None and attribute in catalog
    keep = seen | np.array([always and name != UNKNOWN for name in names])
    return (
        pl.DataFrame({"bin": names, **columns})
        .filter(pl.Series(keep))
        .select(
            pl.lit(attribute).alias("attribute"),
            "bin",
            pl.lit(label, dtype=pl.String).alias("label"),
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
    "collect": pl.Float64,
    "train_elevated": pl.Boolean,
    "p_value": pl.Float64,
    **COLUMNS,
}


def _share_bounds(sample: Sample, attribute: str, told: Misread, side: str) -> dict[str, Floats | Integers | Bools]:
    """Return ``SIDE_share_low`` and ``SIDE_share_high``."""
    inside = sample.codes[attribute][:, None] == np.arange(len(told.missed))
    found = shares(inside, sample.clusters())
    low, high = widen_shares(found.low, found.high, told)
    return {f"{side}_share_low": low, f"{side}_share_high": high}


def _risk(
    side: Side, attribute: str, told: Misread, *, by_label: bool, by_size: bool
) -> dict[str, Floats | Integers | Bools]:
    """Misses, miss rates and risk ratios per bin (K,); ratios of the last, ``unknown``, are NaN."""
    sample = side.asked
    codes, bins = sample.codes[attribute], len(told.missed)
    inside = codes[:, None] == np.arange(bins)
    misses = np.bincount(codes[sample.miss], minlength=bins)
    holding = held(sample.photo[sample.miss], sample.photos, codes[sample.miss], bins)
    clusters = sample.clusters()
    rate = rates(inside, sample.miss, clusters, icc=side.correlation)
    known = inside[:, :-1]
    compared = known.any(axis=1)[:, None]
    crude = risk_ratios(known, compared, sample.miss, clusters, icc=side.correlation)
    layers = strata(sample, size=by_size, label=by_label)
    adjusted = crude
    if layers is not None:
        adjusted = risk_ratios(known, compared, sample.miss, clusters, layers, icc=side.correlation)
    crude_low, crude_high = _widened(crude, known, told)
    adjusted_low, adjusted_high = _widened(adjusted, known, told)
    return {
        "miss_count": misses,
        "miss_photos": holding.sum(axis=1),
        "miss_share": misses / misses.sum() if misses.sum() else np.full(bins, np.nan),
        "miss_rate": rate.rate,
        "miss_rate_low": rate.low,
        "miss_rate_high": rate.high,
        "risk_ratio": _tested(crude.ratio),
        "risk_ratio_low": _tested(crude_low),
        "risk_ratio_high": _tested(crude_high),
        "adjusted_risk_ratio": _tested(adjusted.ratio),
        "adjusted_low": _tested(adjusted_low),
        "adjusted_high": _tested(adjusted_high),
        "p_value": _tested(adjusted.p_value),
    }


def _widened(found: Ratios, known: Bools, told: Misread) -> tuple[Floats, Floats]:
    """Bounds of the known bins (K − 1,), widened by how these are told."""
    count = max(int(known.sum()), 1)
    bins = Misread(told.missed[:-1], told.stray[:-1], told.error[:-1])
    return widen_ratios(found.low, found.high, known.sum(axis=0) / count, bins)


def _training_risk(side: Side, attribute: str, bins: int, *, by_label: bool, by_size: bool) -> tuple[Floats, Bools]:
    """Miss rate per bin among the training objects that the detector was asked about, and whether it is elevated."""
    sample = side.asked
    codes = sample.codes[attribute]
    size, misses = np.bincount(codes, minlength=bins), np.bincount(codes[sample.miss], minlength=bins)
    rate = np.divide(misses, size, out=np.full(bins, np.nan), where=size > 0)
    if not len(codes):
        return rate, np.zeros(bins, dtype=np.bool_)
    known = codes[:, None] == np.arange(bins - 1)
    layers = strata(sample, size=by_size, label=by_label)
    compared = known.any(axis=1)[:, None]
    ratios = risk_ratios(known, compared, sample.miss, sample.clusters(), layers, icc=side.correlation)
    elevated = (ratios.ratio >= ELEVATED_RATIO) & (ratios.low > 1) & (size[:-1] >= RARE_COUNT)
    return rate, np.append(elevated, False)


def _tested(values: Floats) -> Floats:
    """The figures of the known bins, NaN for bounds that the data do not set and for ``unknown``, which comes last."""
    return np.append(np.where(values <= UNBOUNDED, values, np.nan), np.nan)
