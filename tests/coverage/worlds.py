"""Random data sets with known risks, for the tests of this folder."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from xai.coverage.bins import Range


@dataclass(frozen=True)
class Item:
    level: str
    bins: tuple[Range, ...]
    bin_error: float | None = None


@dataclass(frozen=True)
class Side:
    images: pl.DataFrame
    objects: pl.DataFrame


CATALOG = {
    "glare": Item("image", (Range("none", None, 0.2), Range("mild", 0.2, 0.6), Range("strong", 0.6, None))),
    "brightness": Item("image", (Range("dark", None, 0.3), Range("normal", 0.3, None))),
    "object_size": Item("object", (Range("small", None, 0.2), Range("medium", 0.2, 0.6), Range("large", 0.6, None))),
    "crowding": Item("object", (Range("alone", None, 0.7), Range("crowded", 0.7, None))),
}


def world(
    seed: int,
    photos: int = 300,
    *,
    glare: float = 0.1,
    glare_risk: float = 1.0,
    crowd_risk: float = 1.0,
    size_risk: float = 2.0,
    base: float = 0.08,
    per_photo: float = 4.0,
    detected: bool = True,
) -> Side:
    """A data set in which a share of photos has strong glare, and misses follow multiplied risks."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(per_photo, photos)
    photo = np.repeat(np.arange(photos), counts)
    ids = [f"photo {index:05d}.jpg" for index in range(photos)]
    strong = rng.random(photos) < glare
    images = pl.DataFrame(
        {
            "image_id": ids,
            "status": ["ok"] * photos,
            "glare": np.where(strong, rng.uniform(0.6, 1, photos), rng.uniform(0, 0.6, photos)),
            "brightness": rng.uniform(0, 1, photos),
        }
    )
    size, crowding = rng.uniform(0, 1, len(photo)), rng.uniform(0, 1, len(photo))
    risk = base * np.where(strong, glare_risk, 1.0)[photo]
    risk = risk * np.where(crowding >= 0.7, crowd_risk, 1.0) * np.where(size < 0.2, size_risk, 1.0)
    miss = rng.random(len(photo)) < np.clip(risk, 0, 0.98)
    objects = pl.DataFrame(
        {
            "image_id": [ids[index] for index in photo],
            "object_id": np.concatenate([np.arange(count) for count in counts]),
            "label": rng.choice(["car", "person"], len(photo), p=[0.7, 0.3]),
            "outcome": np.where(miss, rng.choice(["missed", "confused", "mislocated"], len(photo)), "found"),
            "object_size": size,
            "crowding": crowding,
            "label_pose": rng.choice(["Left", "Right"], len(photo)),
        }
    )
    outcome = pl.col("outcome") if detected else pl.lit(None, dtype=pl.String).alias("outcome")
    return Side(images, objects.with_columns(outcome))
