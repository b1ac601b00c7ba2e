from pathlib import Path

import polars as pl
import pytest

from xai import config, tables
from xai.demo import dataset, make_demo, score
from xai.demo.conditions import EXPECTED, HARMLESS, NONE
from xai.exceptions import RequestError, RunError

PLANTED = [
    # image, object, condition, outcome, cause of the miss
    ("a.jpg", 0, "glare", "missed", "glare"),
    ("a.jpg", 1, "glare", "confused", "darkness"),
    ("a.jpg", 2, "glare", "found", None),
    ("a.jpg", 3, "glare", "ignored", None),
    ("b.jpg", 0, NONE, "missed", "glare"),
    ("b.jpg", 1, NONE, "missed", "unexplained"),
    ("c.jpg", 0, HARMLESS, "mislocated", "noise"),
    ("c.jpg", 1, HARMLESS, "found", None),
    ("d.jpg", 0, "tilt", "missed", "tilt"),
]


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    rows = [(image_id, object_id, condition) for image_id, object_id, condition, *_ in PLANTED]
    path = tmp_path / "truth.csv"
    pl.DataFrame(rows, schema=["image_id", "object_id", "condition"], orient="row").write_csv(path)
    return path


def write_run(folder: Path, rows: list[tuple[str, int, str, str, str | None]]) -> None:
    names = ["image_id", "object_id", "condition", "outcome", "cause"]
    frame = pl.DataFrame(rows, schema=names, orient="row").with_columns(split=pl.lit("eval"))
    frame = frame.with_columns(error_id=pl.format("{}/{}", "image_id", "object_id"))
    misses = frame.filter(pl.col("cause").is_not_null())
    duplicate = pl.DataFrame({"error_id": ["x"], "kind": ["duplicate"], "image_id": ["a.jpg"], "object_id": [2]})
    errors = tables.stack([misses.drop("split", "condition", "cause", "outcome"), duplicate], tables.TABLES["errors"])
    objects = tables.conform(frame.drop("condition", "cause", "error_id"), tables.TABLES["objects"])
    tables.write(objects, folder / "objects.parquet")
    tables.write(errors, folder / "errors.parquet")
    verdicts = tables.conform(misses.select("error_id", "cause"), tables.TABLES["verdicts"])
    tables.write(verdicts, folder / "verdicts.parquet")


def test_score_counts_by_hand(tmp_path: Path, truth: Path) -> None:
    write_run(tmp_path / "run", PLANTED)
    table = score(tmp_path / "run", truth)
    assert table.columns == ["condition", "expected", "objects", "misses", "named", "share", "blamed"]
    rows = {row[0]: row[1:] for row in table.iter_rows()}
    assert list(rows) == [*EXPECTED, HARMLESS, NONE]
    assert rows["glare"] == ("glare", 3, 2, 1, 0.5, 1)
    assert rows["tilt"] == ("tilt", 1, 1, 1, 1.0, 0)
    assert rows["darkness"] == ("darkness", 0, 0, 0, None, 1)
    assert rows[HARMLESS] == (None, 2, 1, None, None, 1)
    assert rows[NONE] == (None, 2, 2, None, None, None)


def test_score_refuses_a_run_of_other_photos(tmp_path: Path, truth: Path) -> None:
    write_run(tmp_path / "run", [*PLANTED, ("z.jpg", 0, NONE, "found", None)])
    with pytest.raises(RunError, match="other objects"):
        score(tmp_path / "run", truth)


def test_score_of_an_unfinished_run(tmp_path: Path, truth: Path) -> None:
    with pytest.raises(RunError, match="objects"):
        score(tmp_path / "run", truth)


def test_demo_folder_has_a_valid_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "TRAINING_PHOTOS", 2)
    monkeypatch.setattr(dataset, "EVALUATION", {NONE: 1, "glare": 1})
    paths = make_demo(tmp_path / "out")
    loaded = config.load(paths.config)
    assert loaded.data.train is not None
    assert loaded.data.train.path == tmp_path / "out" / "data" / "train"
    assert loaded.data.eval.path == tmp_path / "out" / "data" / "eval"
    assert loaded.data.train.is_training_set
    assert loaded.detector.weights is not None
    assert loaded.detector.weights.is_file()
    assert paths.truth.is_file()


def test_a_folder_of_another_share_or_of_other_photos_is_refused(tmp_path: Path) -> None:
    dataset.write(tmp_path, share=0.01)
    dataset.write(tmp_path, share=0.01)
    with pytest.raises(RequestError, match="the same share of the demo, found"):
        dataset.write(tmp_path, share=0.001)
