"""One set of labels, read from three formats."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from formats import WRITERS, scored
from PIL import Image

from xai import dataset
from xai.types import Dataset


def resolved(data: Dataset) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Objects and issues, photos named by their file alone: each format has a root of its own."""
    sizes = []
    for image_id in data.image_ids:
        with Image.open(data.root / image_id) as photo:
            sizes.append((image_id, *photo.size, photo.getexif().get(0x0112)))
    images = pl.DataFrame(
        sizes,
        schema={"image_id": pl.String, "width": pl.Int64, "height": pl.Int64, "exif_orientation": pl.Int64},
        orient="row",
    )
    objects, issues = dataset.resolve(data.labels, images, data.label_frame)
    named = objects.with_columns(pl.col("image_id").str.split("/").list.last())
    return named.sort("image_id", "object_id"), issues


@pytest.mark.parametrize("format", sorted(WRITERS))
@pytest.mark.parametrize("only_scored", [True, False])
def test_real_labels_are_the_same_in_every_format(
    shared_data: Path, tmp_path: Path, format: str, only_scored: bool
) -> None:
    source = dataset.read(shared_data / "voc/eval", "voc", role="eval")
    if only_scored:
        source = scored(source)
    written = WRITERS[format](source, tmp_path)
    data = dataset.read(written, format, role="eval")
    expected, _ = resolved(source)
    found, issues = resolved(data)
    assert data.issues.is_empty()
    assert issues.is_empty()
    assert [Path(image_id).name for image_id in data.image_ids] == [
        Path(image_id).name for image_id in source.image_ids
    ]
    # Objects that were left out before writing leave gaps in the numbers.
    expected = expected.with_columns(object_id=pl.int_range(pl.len()).over("image_id"))
    boxes = ("x1", "y1", "x2", "y2")
    apart = [(expected[corner] - found[corner]).abs().max() for corner in boxes]
    assert max(apart) < 1e-3
    same = [name for name in expected.columns if name not in boxes]
    if format == "yolo":
        assert [name for name in found.columns if name.startswith("label_")] == []
        same = ["image_id", "object_id", "label"]
    assert found.select(same).equals(expected.select(same))
    assert set(data.class_names) == set(source.class_names)


def test_photos_are_linked_and_fractions_are_scaled(shared_data: Path, tmp_path: Path) -> None:
    source = dataset.read(shared_data / "coco", "yolo", role="train")
    chosen = source.image_ids[:10]
    few = replace(source, image_ids=chosen, labels=source.labels.filter(pl.col("image_id").is_in(chosen)))
    expected, _ = resolved(few)
    for format, write in WRITERS.items():
        data = dataset.read(write(few, tmp_path / format), format, role="eval")
        found, _ = resolved(data)
        assert len(found) == len(expected) > 20
        assert max((expected[corner] - found[corner]).abs().max() for corner in ("x1", "y1", "x2", "y2")) < 1e-3
        assert all((data.root / image_id).is_symlink() for image_id in data.image_ids)
