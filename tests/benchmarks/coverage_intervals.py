"""Do nominal 95% intervals cover, where the objects of a photo share its fate, where misses are rare, and where the
bin is told wrongly one time in ten?

Miss rates: ours beside Korn & Graubard's interval as published (the cell's own design effect alone) and Wilson's over
objects as if they were independent. Misses of a photo follow a beta-binomial, or copy each other (a share of the
objects takes the photo's own draw), both with intraclass correlation .3.

    python tests/benchmarks/coverage_intervals.py [--runs 4000]
"""

from __future__ import annotations

import argparse

import numpy as np
from harness import Ledger
from scipy import special
from statsmodels.stats.proportion import proportion_confint

from xai.coverage.intervals import (
    Floats,
    Moments,
    clopper_pearson,
    correlations_of,
    indicator,
    intraclass_correlation,
    rates,
    rates_of,
    shares,
)
from xai.coverage.misread import Misread, widen_rates, widen_ratios, widen_shares
from xai.coverage.ratios import risk_ratios

OBJECTS, CORRELATION = 8, 0.3
CELLS = [(photos, rate) for photos in (200, 40) for rate in (0.01, 0.05, 0.10, 0.30)]
RARE = 10
"""Effective misses (or finds) below which a cell is rare: misses over the design effect."""


def draw(model: str, photos: int, rate: float, runs: int, rng: np.random.Generator) -> np.ndarray:
    """Return (photos, runs) misses among the objects of each photo."""
    if model == "beta-binomial":
        shape = (1 - CORRELATION) / CORRELATION
        return rng.binomial(OBJECTS, rng.beta(rate * shape, (1 - rate) * shape, (photos, runs)))
    copies = rng.binomial(OBJECTS, np.sqrt(CORRELATION), (photos, runs))
    return copies * (rng.random((photos, runs)) < rate) + rng.binomial(OBJECTS - copies, rate)


def korn_graubard(lost: Floats, photos: int) -> tuple[Floats, Floats]:
    """Return the bounds of Korn & Graubard, Survey Methodology 1998, for equal photos, (runs,)."""
    size, rate = photos * OBJECTS, lost.mean(axis=0) / OBJECTS
    variance = photos / (photos - 1) * ((lost - OBJECTS * rate) ** 2).sum(axis=0) / size**2
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.where((rate > 0) & (rate < 1), rate * (1 - rate) / variance, size)
    ratio = special.stdtrit(size - 1, 0.975) / special.stdtrit(photos - 1, 0.975)
    return clopper_pearson(rate, np.minimum(effective * ratio**2, size), 0.025)


def miss_rates(ledger: Ledger, runs: int) -> None:
    rng = np.random.default_rng(0)
    covered, common, by_wilson, widths = [], [], [], []
    for photos, rate in CELLS:
        effective = photos * OBJECTS * rate / (1 + (OBJECTS - 1) * CORRELATION)
        for model in ("beta-binomial", "copies"):
            lost = draw(model, photos, rate, runs, rng).astype(float)
            held = np.full(lost.shape, float(OBJECTS))
            ours = rates_of(Moments.of(held, lost), correlations_of(held, lost), 0.025, photos)
            theirs = korn_graubard(lost, photos)
            wilson = proportion_confint(lost.sum(axis=0), photos * OBJECTS, method="wilson")
            hit, peer, naive = (
                float(((low <= rate) & (rate <= high)).mean()) for low, high in ((ours.low, ours.high), theirs, wilson)
            )
            width, peer_width = float((ours.high - ours.low).mean()), float((theirs[1] - theirs[0]).mean())
            where = f"{photos} photos, rate {rate:.0%}, {model}"
            rare = effective < RARE
            note = f"Korn–Graubard {peer:.3f}, Wilson {naive:.3f}; width {width:.4f} against {peer_width:.4f}"
            ledger.add(f"covers: {where}", hit, 0.93, "higher", note + ("; rare" if rare else ""))
            covered.append(hit)
            by_wilson.append(naive)
            widths.append(width / peer_width)
            if not rare:
                common.append(hit)
    ledger.add("least coverage", min(covered), 0.93, "higher", f"{runs} runs a cell")
    ledger.add("least outside rare cells", min(common), 0.93, "higher", f"rare: under {RARE} effective misses")
    ledger.add("most outside rare cells", max(common), 0.97, "lower")
    ledger.add("width over Korn–Graubard's", float(np.mean(widths)), None, "lower", "mean over cells")
    ledger.add("Wilson over objects", float(np.mean(by_wilson)), None, "higher", "mean coverage over cells")


def wrong_tags(ledger: Ledger, runs: int) -> None:
    """A photo's bin is told wrongly one time in ten, either way; what is said of the true bin still covers."""
    photos, error = 200, 0.1
    rng = np.random.default_rng(1)
    photo = np.repeat(np.arange(photos), OBJECTS)
    by_photo = indicator(photo, photos)
    everything = np.ones((len(photo), 1), dtype=bool)
    told_wrongly = Misread(np.array([error]), np.array([error]), np.array([np.nan]))
    shape = (1 - CORRELATION) / CORRELATION
    for share, ratio in ((0.3, 3.0), (0.3, 1.0), (0.5, 2.0), (0.15, 3.0)):
        base, hits, plain = 0.08, np.zeros(3), np.zeros(3)
        for _ in range(runs):
            lies = rng.random(photos) < share
            told = (lies ^ (rng.random(photos) < error))[photo][:, None]
            risk = base * np.where(lies, ratio, 1.0)
            miss = rng.random(len(photo)) < rng.beta(risk * shape, (1 - risk) * shape)[photo]
            icc = intraclass_correlation(miss, by_photo)
            truth = np.array([base * ratio, ratio, share])
            rate, part = rates(told, miss, by_photo, icc=icc), shares(told, by_photo)
            found = risk_ratios(told, everything, miss, by_photo, icc=icc)
            at = told.mean(axis=0)
            bounds = [
                widen_rates(rate.low, rate.high, at, miss.mean(), told_wrongly),
                widen_ratios(found.low, found.high, at, told_wrongly),
                widen_shares(part.low, part.high, told_wrongly),
            ]
            as_told = [(one.low, one.high) for one in (rate, found, part)]
            hits += [low[0] <= value <= high[0] for (low, high), value in zip(bounds, truth, strict=True)]
            plain += [low[0] <= value <= high[0] for (low, high), value in zip(as_told, truth, strict=True)]
        for name, hit, before in zip(("miss rate", "risk ratio", "share"), hits, plain, strict=True):
            where = f"{name}, tags wrong 10%: share {share:.0%}, ratio {ratio:g}"
            ledger.add(where, hit / runs, 0.93, "higher", f"{before / runs:.3f} where wrong tags are not allowed for")


def promises(ledger: Ledger, runs: int) -> None:
    """A promise that is missed by a hair is called kept in at most one of 20 runs, one just kept likewise broken."""
    rng = np.random.default_rng(2)
    for photos, target in ((200, 0.9), (412, 0.95), (40, 0.7)):
        lost = draw("beta-binomial", photos, 1 - target, runs, rng).astype(float)
        held = np.full(lost.shape, float(OBJECTS))
        bounds = rates_of(Moments.of(held, lost), correlations_of(held, lost), 0.05, photos)
        where = f"recall at {target:.0%}, {photos} photos"
        # Nominally 5%; the interval's target allows two points on two sides.
        kept, broken = float((bounds.high < 1 - target).mean()), float((bounds.low > 1 - target).mean())
        ledger.add(f"called kept: {where}", kept, 0.06, "lower", "one-sided 95%")
        ledger.add(f"called broken: {where}", broken, 0.06, "lower", "one-sided 95%")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=4000)
    options = parser.parse_args()
    ledger = Ledger("coverage_intervals")
    miss_rates(ledger, options.runs)
    wrong_tags(ledger, max(options.runs // 4, 1))
    promises(ledger, options.runs)
    ledger.table()


if __name__ == "__main__":
    main()
