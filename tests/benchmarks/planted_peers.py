"""What other tools blame, for ``planted_causes.py``: sliceline's top slice, and a gradient-boosted miss predictor.

Both run in an environment of their own (``python -m venv peer && peer/bin/pip install sliceline==0.3.0 numba``, which
brings scikit-learn), on the same bins and values as the toolkit.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

from xai import coverage
from xai.catalog import CATALOG
from xai.causes import CAUSES
from xai.rules import MISSES

PEER = """
import json, sys, warnings
import numpy as np
warnings.filterwarnings("ignore")
from sklearn.ensemble import HistGradientBoostingClassifier
from sliceline.slicefinder import Slicefinder

given = np.load(sys.argv[1])
bins, values, miss = given["bins"], given["values"], given["miss"]
errors = miss.astype(float)
finder = Slicefinder(alpha=0.95, k=50, max_l=2, min_sup=max(4, int(0.01 * len(miss))), verbose=False).fit(bins, errors)
slices = []
for row in finder.top_slices_:
    slices.append([(index, int(code)) for index, code in enumerate(row) if code is not None and code == code])
lost = np.flatnonzero(miss)
top = []
for index in lost:
    inside = [rule for rule in slices if all(bins[index, column] == code for column, code in rule)]
    top.append(inside[0] if inside else [])
# What one attribute adds to the odds of a miss: against the values of found objects, one attribute at a time, averaged
# over the order in which the others are set (Shapley values by sampling: Strumbelj & Kononenko 2014).
model = HistGradientBoostingClassifier(max_iter=60, max_depth=3, learning_rate=0.1, random_state=0).fit(values, miss)
rng, found = np.random.default_rng(0), values[~miss]
share = np.zeros((len(lost), values.shape[1]))
for _ in range(20):
    order = rng.permutation(values.shape[1])
    mixed = found[rng.integers(len(found), size=len(lost))].copy()
    before = model.decision_function(mixed)
    for column in order:
        mixed[:, column] = values[lost, column]
        after = model.decision_function(mixed)
        share[:, column] += after - before
        before = after
print(json.dumps({"slices": top, "shares": (share / 20).tolist()}))
"""


def blame(run: Path, python: str) -> pl.DataFrame:
    """Name a cause by each peer: ``error_id sliceline boosted``.

    A slice names the cause of the first of its conditions that tells one; the predictor that of the attribute which
    adds most to the odds of the miss and whose bin tells one; neither: ``unexplained``.

    Args:
        run: run directory.
        python: of the environment that holds the peers.
    """
    frames = {name: pl.read_parquet(run / f"{name}.parquet") for name in ("images", "objects", "errors")}
    train, judged = (_split(frames, name) for name in ("train", "eval"))
    bins = coverage.analyse(train, judged, train_detected=True).bins
    keys = ["image_id", "object_id"]
    names = [name for name in bins.columns if name not in (*keys, "label") and name in CATALOG]
    joined = bins.select(keys).join(judged.objects, on=keys, maintain_order="left")
    joined = joined.join(judged.images, on="image_id", maintain_order="left")
    miss = joined["outcome"].is_in(list(MISSES)).to_numpy()
    levels = {name: sorted(set(bins[name])) for name in names}
    codes = np.stack([bins[name].replace_strict({v: i for i, v in enumerate(levels[name])}) for name in names], 1)
    numeric = [name for name in names if name in joined.columns and joined[name].dtype.is_numeric()]
    values = joined.select(pl.col(name).cast(pl.Float64).fill_null(np.nan) for name in numeric).to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.npz"
        np.savez(path, bins=codes.astype(np.int64), values=values, miss=miss)
        done = subprocess.run([python, "-c", PEER, str(path)], stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    lost = joined.filter(miss)
    rows = []
    for place, row in enumerate(lost.iter_rows(named=True)):
        by_slice = [(names[column], levels[names[column]][code]) for column, code in answer["slices"][place]]
        shares = answer["shares"][place]
        order = sorted((i for i, share in enumerate(shares) if share > 0), key=lambda i: -shares[i])
        by_odds = [(numeric[i], bins.filter(miss)[numeric[i]][place]) for i in order]
        rows.append((row["image_id"], row["object_id"], _cause(by_slice), _cause(by_odds)))
    schema = {"image_id": pl.String, "object_id": pl.Int64, "sliceline": pl.String, "boosted": pl.String}
    told = pl.DataFrame(rows, schema=schema, orient="row")
    return frames["errors"].join(told, on=keys).select("error_id", "sliceline", "boosted")


def _split(frames: dict[str, pl.DataFrame], name: str) -> Any:
    parts = {key: frames[key].filter(pl.col("split") == name) for key in ("images", "objects")}
    return SimpleNamespace(images=parts["images"].drop("split"), objects=parts["objects"])


def _cause(conditions: list[tuple[str, str]]) -> str:
    for attribute, name in conditions:
        for cause, item in CAUSES.items():
            if name in item.told_by.get(attribute, ()):
                return cause
    return "unexplained"
