"""Draws production photos at random, so that labels on them answer the promise."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from attributes import remote
from xai.exceptions import RequestError, RunError
from xai.files import replacing
from xai.question import SAMPLE
from xai.run import Run


@dataclass(frozen=True, slots=True)
class Drawn:
    """A random sample of a run's production photos.

    Attributes:
        image_ids: the photos, sorted.
        of: photos that it was drawn from.
        csv: the list, ``image_id,path``.
        coco: the same as a COCO file without annotations, to begin with in a labelling tool.
    """

    image_ids: tuple[str, ...]
    of: int
    csv: Path
    coco: Path


def sample(run: str | Path, n: int, *, seed: int | None = None) -> Drawn:
    """Draw a simple random sample of the production photos of a run, without replacement.

    With the same seed a larger sample contains the smaller one, so that labelling can go on where it was.

    Args:
        run: a run of reported cases.
        n: photos; all where there are fewer.
        seed: of the draw; the run's own if left out.

    Raises:
        RequestError: ``n`` is no number of photos.
        RunError: there is no finished run, or its photos are annotated already.
    """
    if n < 1:
        raise RequestError(f"expected a number of photos to draw, 1 or more, got {n}")
    opened = Run(run)
    photos = opened.images.filter((pl.col("split") == "production") & (pl.col("status") == "ok")).sort("image_id")
    if not len(photos):
        raise RunError(
            f"expected a run of reported cases (data.production) at {opened.path}; this one has an annotated "
            "evaluation set, which answers the promise itself"
        )
    order = np.random.default_rng(opened.info["seed"] if seed is None else seed).permutation(len(photos))
    drawn = photos[np.sort(order[:n]).tolist()]
    root = Path(opened.info["data"]["production"]["path"])
    listed = drawn.select("image_id", path=pl.lit((remote.address(root) or root.as_posix()) + "/") + pl.col("image_id"))
    csv, coco = opened.path / SAMPLE, opened.path / "sample.json"
    with replacing(csv) as temporary:
        listed.write_csv(temporary)
    with replacing(coco) as temporary:
        temporary.write_text(json.dumps(_coco(drawn, opened.info["model"]["names"])), encoding="utf-8")
    return Drawn(tuple(drawn["image_id"].to_list()), len(photos), csv, coco)


def _coco(photos: pl.DataFrame, names: list[str]) -> dict[str, object]:
    images = photos.select(file_name="image_id", width="width", height="height").with_row_index("id", offset=1)
    return {
        "images": images.to_dicts(),
        "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
    }
