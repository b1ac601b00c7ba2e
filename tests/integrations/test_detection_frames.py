"""pandas and supervision, in and out."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from report.make_run import make_run

from xai import Run, extras
from xai.config import DetectorConfig
from xai.detect import load
from xai.exceptions import RequestError
from xai.integrations import frames

ROWS = pl.DataFrame(
    {
        "image_id": ["b/2.jpg", "b/2.jpg", "a/1.jpg"],
        "label": ["car", "<b>", "car"],
        "score": [0.9, 0.4, 0.75],
        "x1": [1.0, 2.0, 3.0],
        "y1": [1.5, 2.5, 3.5],
        "x2": [11.0, 12.0, 13.0],
        "y2": [21.5, 22.5, 23.5],
        "note": ["x", "y", "z"],
    }
)


@pytest.mark.parametrize("kind", ["polars", "pandas"])
def test_a_table_of_detections_is_read_as_a_detector(kind: str, tmp_path: Path) -> None:
    written = frames.write_detections(ROWS if kind == "polars" else ROWS.to_pandas(), tmp_path / "made")
    config = DetectorConfig.model_validate({**written.detector, "score_threshold": 0.5})
    found = load(config, "cpu", image_ids=["a/1.jpg", "b/2.jpg", "c/3.jpg"])
    assert set(found.names) == {"car", "<b>"}
    assert set(found.by_image) == {"a/1.jpg", "b/2.jpg"}  # type: ignore[union-attr]
    kept = found.by_image["b/2.jpg"]  # type: ignore[union-attr]
    np.testing.assert_allclose(kept.boxes, [[1, 1.5, 11, 21.5]])
    assert kept.scores.tolist() == [0.9]
    assert [found.names[code] for code in kept.labels] == ["car"]


def test_what_is_missing_in_a_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="score, x1 not among them"):
        frames.write_detections(ROWS.drop("score", "x1"), tmp_path)
    with pytest.raises(RequestError, match="column label has 1 without"):
        frames.write_detections(ROWS.to_pandas().assign(label=["car", None, "car"]), tmp_path)
    with pytest.raises(RequestError, match="expected labels among car; got '<b>'"):
        frames.write_detections(ROWS, tmp_path, names=["car"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["polars", "pandas"])
@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("score", np.nan, r"finite numbers in every row; 1 of 3 have none, the first is row 1 \(b/2\.jpg\).* = nan 2"),
        ("x2", np.inf, "finite numbers"),
        ("score", 1.5, "a score of 0 to 1"),
        ("x1", 12.5, "x1 < x2 and y1 < y2"),
        ("y2", 2.5, "x1 < x2 and y1 < y2"),
    ],
)
def test_what_no_detector_says_is_refused(kind: str, column: str, value: float, message: str, tmp_path: Path) -> None:
    row = pl.int_range(pl.len()) == 1
    frame = ROWS.with_columns(pl.when(row).then(pl.lit(value)).otherwise(column).alias(column))
    # pandas has no other null than NaN: there it counts as a value that is missing
    expected = "column score has 1 without" if kind == "pandas" and np.isnan(value) else message
    with pytest.raises(RequestError, match=expected):
        frames.write_detections(frame if kind == "polars" else frame.to_pandas(), tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(RequestError, match="numbers in the column score, got String"):
        frames.write_detections(ROWS.cast({"score": pl.String}), tmp_path)


def test_classes_without_a_detection_are_kept(tmp_path: Path) -> None:
    written = frames.write_detections(ROWS.clear(), tmp_path, names=["car", "bus"])
    assert [item["name"] for item in json.loads(written.annotations.read_text())["categories"]] == ["car", "bus"]
    assert json.loads(written.results.read_text()) == []


def test_every_table_of_a_run_becomes_pandas(tmp_path: Path) -> None:
    run = Run(make_run(tmp_path))
    made = run.verdicts.to_pandas()
    assert isinstance(made, pd.DataFrame)
    assert made["error_id"].tolist() == run.verdicts["error_id"].to_list()


def test_a_package_that_is_not_there_names_its_extra() -> None:
    with pytest.raises(RequestError, match=r"expected the package nowhere_at_all.*pip install 'xai-toolkit\[mlflow\]'"):
        extras.need("nowhere_at_all.part", "mlflow")


HAS_SUPERVISION = importlib.util.find_spec("supervision") is not None
needs_supervision = pytest.mark.skipif(not HAS_SUPERVISION, reason="no supervision: pip install supervision")


@needs_supervision
@pytest.mark.filterwarnings("ignore")
def test_there_and_back_with_supervision(tmp_path: Path) -> None:
    run = Run(make_run(tmp_path))
    names = run.predictions.filter(split="eval")["image_id"].unique().sort().to_list()
    made = {name: frames.to_supervision(run, name) for name in names}
    back = frames.from_supervision(made)
    there = run.predictions.filter(split="eval").select(frames.COLUMNS).sort(frames.COLUMNS)
    assert back["image_id"].n_unique() == len(names)
    for column in frames.COLUMNS:
        if there[column].dtype == pl.Float64:
            np.testing.assert_allclose(back[column].sort(), there[column].sort(), rtol=1e-6)
        else:
            assert back[column].sort().to_list() == there[column].sort().to_list()
    first = made[names[0]]
    assert set(first.data["outcome"]) <= set(run.predictions["outcome"])
    assert len(set(zip(first.data["class_name"], first.class_id, strict=True))) == len(set(first.class_id))


@needs_supervision
@pytest.mark.filterwarnings("ignore")
def test_annotators_and_metrics_of_supervision_take_it(tmp_path: Path) -> None:
    import supervision as sv

    run = Run(make_run(tmp_path))
    name = run.predictions.filter(split="eval")["image_id"][0]
    found, objects = frames.to_supervision(run, name), frames.to_supervision(run, name, of="objects")
    scene = np.zeros((480, 640, 3), dtype=np.uint8)
    assert sv.BoxAnnotator().annotate(scene.copy(), found).any()
    assert objects.confidence is None
    assert len(objects) == len(run.objects.filter(split="eval", image_id=name))
    with pytest.raises(RequestError, match=r"has no .nowhere"):
        frames.to_supervision(run, "nowhere.jpg")


@needs_supervision
@pytest.mark.filterwarnings("ignore")
def test_class_names_of_supervision() -> None:
    import supervision as sv

    box = np.array([[1, 2, 3, 4]], dtype=np.float32)
    bare = sv.Detections(xyxy=box, confidence=np.array([0.5], dtype=np.float32), class_id=np.array([1]))
    assert frames.from_supervision({"a": bare}, names=["car", "bus"])["label"].to_list() == ["bus"]
    assert frames.from_supervision({"a": sv.Detections.empty()}).height == 0
    with pytest.raises(RequestError, match="class_id and names"):
        frames.from_supervision({"a": bare})
    with pytest.raises(RequestError, match="in 0–0, got 1"):
        frames.from_supervision({"a": bare}, names=["car"])
    with pytest.raises(RequestError, match="with confidence"):
        frames.from_supervision({"a": sv.Detections(xyxy=box)})
