"""One set of labels in three formats gives one answer: the same outcomes, attributes and coverage."""

from pathlib import Path

import polars as pl
import pytest
from dataset import formats
from polars.testing import assert_frame_equal
from rendered import write_config, write_world

import xai
from xai import config, dataset

pytestmark = pytest.mark.usefixtures("follow_links")

VOC_CLASSES = {
    "aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle",
    "pottedplant": "potted plant", "sofa": "couch", "tvmonitor": "tv",
}  # fmt: skip


def outcomes(run: xai.Run) -> pl.DataFrame:
    """Return the evaluation objects under names that all formats share."""
    objects = run.objects.filter(pl.col("split") == "eval")
    own = [name for name in objects.columns if name.startswith("label_")]
    return objects.drop(*own, "split").with_columns(pl.col("image_id").str.split("/").list.last())


def same(left: xai.Run, right: xai.Run) -> None:
    ours, theirs = (outcomes(run).sort("image_id", "object_id") for run in (left, right))
    assert_frame_equal(ours, theirs, check_exact=False, abs_tol=1e-3)
    rows = [
        run.coverage.filter(~pl.col("attribute").str.starts_with("label_")).sort("attribute", "bin", "label")
        for run in (left, right)
    ]
    # False-discovery rates and verdict-free figures alike; q-values depend on how many columns a format carries.
    assert_frame_equal(*[frame.drop("q_value", "assessment") for frame in rows], check_exact=False, abs_tol=1e-6)


def triage_in(format: str, labels: object, folder: Path, base: Path, **sections: dict[str, object]) -> xai.Run:
    path = formats.WRITERS[format](labels, folder / format)  # type: ignore[arg-type]
    section = {"train": None, "eval": {"path": str(path), "format": format}, **sections.pop("data", {})}
    made = write_config(base / f"{format}.yaml", data=section, explain={"budget": 0, "maps": 0}, **sections)
    return xai.triage(config.load(made), out=folder / f"run {format}")


def test_rendered_scenes(tmp_path: Path) -> None:
    write_world(tmp_path)
    data = formats.scored(dataset.read(tmp_path / "eval", "voc", role="eval"))
    runs = [triage_in(format, data, tmp_path, tmp_path) for format in ("voc", "coco", "yolo")]
    assert len(outcomes(runs[0])) > 20
    same(runs[0], runs[1])
    same(runs[0], runs[2])


@pytest.mark.slow
def test_real_photos(shared_data: Path, tmp_path: Path) -> None:
    """All of VOC eval with a real detector; objects that are not scored are left out, as YOLO cannot mark them."""
    data = formats.scored(dataset.read(shared_data / "voc" / "eval", "voc", role="eval"))
    detector = {
        "kind": "ultralytics", "weights": str(shared_data / "weights" / "yolo11n_coco.pt"), "score_threshold": 0.25,
        "image_size": 640,
    }  # fmt: skip
    runs = [
        triage_in(format, data, tmp_path, tmp_path, data={"classes": VOC_CLASSES}, detector=detector)
        for format in ("voc", "coco", "yolo")
    ]
    assert len(outcomes(runs[0])) > 600
    same(runs[0], runs[1])
    same(runs[0], runs[2])
