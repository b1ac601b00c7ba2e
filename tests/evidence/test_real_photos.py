"""The toy knows what it should; here a real detector on real photos has to agree."""

import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
import torch

from xai import evidence
from xai.config import DetectorConfig
from xai.evidence.trial import ask
from xai.types import Pixels

pytest.importorskip("ultralytics", reason="needs the extra 'yolo'")

PHOTOS = 5


def objects_of(folder: Path) -> pl.DataFrame:
    """Cars and people of the first photos that hold some."""
    rows = []
    for file in sorted((folder / "Annotations").glob("*.xml")):
        for index, item in enumerate(ET.parse(file).iter("object")):
            if item.findtext("name") in {"car", "person"} and item.findtext("difficult") != "1":
                box = [float(item.findtext(f"bndbox/{side}") or "nan") for side in ("xmin", "ymin", "xmax", "ymax")]
                rows.append((f"{file.stem}-{index}", file.stem, item.findtext("name"), *box))
    frame = pl.DataFrame(rows, schema=["error_id", "image_id", "label", "x1", "y1", "x2", "y2"], orient="row")
    return frame.filter(pl.col("image_id").is_in(frame["image_id"].unique(maintain_order=True).head(PHOTOS).to_list()))


def test_sideways_photos_are_proved_by_turning_them(shared_data: Path, tmp_path: Path) -> None:
    from xai.detect import ultralytics

    weights = shared_data / "weights" / "yolo11n_coco.pt"
    detector = ultralytics.load(DetectorConfig(kind="ultralytics", weights=weights, image_size=320), "cpu")
    folder = shared_data / "voc" / "eval"
    objects = objects_of(folder)
    turned: dict[str, Pixels] = {}
    lost, placed = [], []
    for part in objects.partition_by("image_id", maintain_order=True):
        image_id = part["image_id"][0]
        upright = cv2.cvtColor(cv2.imread(str(folder / "JPEGImages" / f"{image_id}.jpg")), cv2.COLOR_BGR2RGB)
        turned[image_id] = np.ascontiguousarray(np.rot90(upright))
        width = float(upright.shape[1])
        boxes = part.select(y1=width - pl.col("x2"), x1="y1", y2=width - pl.col("x1"), x2="y2")
        sideways = part.with_columns(boxes)
        labels = np.array([detector.names.index(label) for label in part["label"]])
        box, side = (frame.select("x1", "y1", "x2", "y2").to_numpy()[None] for frame in (part, sideways))
        found = ask(detector, [upright], box, labels, match_iou=0.5).found[0]
        still = ask(detector, [turned[image_id]], side, labels, match_iou=0.5).found[0]
        placed.append(sideways)
        lost.append(sideways.filter(pl.Series(found & ~still)))
    misses = pl.concat(lost).with_columns(rotation=pl.lit(90.0))
    assert len(misses) >= 3
    plan = misses.select("error_id", cause=pl.lit("rotation"), repair=pl.lit("turn_upright"), priority=pl.lit(1.0))
    states = {name: value.clone() for name, value in detector.model.state_dict().items()}
    lines = evidence.explain(
        misses,
        plan=plan,
        objects=pl.concat(placed),
        load_pixels=turned.__getitem__,
        detector=detector,
        budget=200,
        maps=1,
        match_iou=0.5,
        seed=0,
        folder=tmp_path,
    )
    repaired = lines.filter(pl.col("kind") == "repair_found")
    assert repaired["after"].mean() > 0.8
    assert repaired["placebo"].mean() < 0.3
    saliency = lines.filter(pl.col("kind") == "saliency")
    assert len(saliency) == 4
    assert np.isfinite(np.load(next((tmp_path / "maps").glob("*.npz")))["saliency"].astype(float)).all()
    assert all(torch.equal(states[name], value) for name, value in detector.model.state_dict().items())
    assert not detector.model.training
    assert torch.is_grad_enabled()
