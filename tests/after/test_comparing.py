"""Two runs on the same evaluation set, compared object by object."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.contingency_tables import mcnemar

import xai
from xai import run_json, tables
from xai.after import comparing
from xai.exceptions import RequestError, RunError

CAR, PERSON = "car", "person"


def write_run(
    folder: Path,
    outcomes: np.ndarray,
    *,
    per_photo: int = 4,
    digest: str = "d" * 64,
    dark: np.ndarray | None = None,
    wrong: int = 0,
    question: str = "evaluate",
    group: list[str] | None = None,
    detector: dict | None = None,
    first_photo: int = 0,
) -> Path:
    """Write a run whose objects have the given misses; labels alternate."""
    folder.mkdir(parents=True, exist_ok=True)
    n = len(outcomes)
    photo = np.arange(n) // per_photo + first_photo
    ids = [f"p{index:04d}.jpg" for index in photo]
    names = list(dict.fromkeys(ids))
    dark = np.zeros(len(names), dtype=bool) if dark is None else dark
    images = pl.DataFrame(
        {"split": "eval", "image_id": names, "status": "ok", "sha256": [f"s{name}" for name in names],
         "brightness": np.where(dark, 0.1, 0.4)}
    )  # fmt: skip
    if group is not None:
        images = images.with_columns(group=pl.Series(group))
    x1 = 10.0 * (np.arange(n) % per_photo)
    objects = pl.DataFrame(
        {"split": "eval", "image_id": ids, "object_id": np.arange(n) % per_photo,
         "label": np.where(np.arange(n) % 2, CAR, PERSON), "x1": x1, "y1": 0.0, "x2": x1 + 9, "y2": 9.0,
         "outcome": np.where(outcomes, "missed", "found")}
    )  # fmt: skip
    misses = objects.filter(pl.col("outcome") == "missed")
    errors = misses.select("image_id", "object_id", "label", kind="outcome").with_row_index("row")
    errors = errors.with_columns(error_id=pl.col("row").cast(pl.String))
    verdicts = errors.select("error_id", cause=pl.lit("darkness"))
    predictions = pl.DataFrame(
        {"split": "eval", "image_id": [names[0]] * wrong, "prediction_id": np.arange(wrong), "outcome": "background"},
        schema_overrides={"image_id": pl.String},
    )
    made = {"images": images, "objects": objects, "errors": errors, "verdicts": verdicts, "predictions": predictions}
    for name, schema in tables.TABLES.items():
        tables.write(tables.conform(made.get(name, tables.empty(schema)), schema), folder / f"{name}.parquet")
    info = {
        "version": "0.1.0",
        "question": question,
        "config": {"match": {"iou": 0.5}, "detector": detector or {"image_size": 640}},
        "model": {"file": "weights.pt", "sha256": "ab"},
        "data": {"eval": {"sha256": digest, "path": "eval"}},
        "promise": [{"sentence": "Recall is kept."}],
    }
    run_json.write(info, folder)
    return folder


@pytest.fixture
def outcomes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A misses many in dark photos, B hardly any more there, and both miss others by chance."""
    rng = np.random.default_rng(3)
    dark = np.arange(100) % 5 == 0
    in_dark = np.repeat(dark, 4)
    a = rng.random(400) < np.where(in_dark, 0.6, 0.1)
    b = np.where(in_dark, a & (rng.random(400) < 0.3), a)
    b[np.flatnonzero(~a & ~in_dark)[:3]] = True
    return a, b, dark


def test_counts_are_those_of_the_objects(tmp_path: Path, outcomes) -> None:
    a, b, dark = outcomes
    first = write_run(tmp_path / "a", a, dark=dark, wrong=2)
    second = write_run(tmp_path / "b", b, dark=dark, wrong=7, detector={"image_size": 320})
    found = xai.compare(first, second)
    row = found.overall
    assert (row["fixed"], row["broken"]) == ((a & ~b).sum(), (b & ~a).sum())
    assert (row["missed_a"], row["missed_b"], row["objects"]) == (a.sum(), b.sum(), 400)
    assert row["difference"] == pytest.approx(b.mean() - a.mean())
    cell = found.cells.filter(pl.col("name") == "brightness=dark").row(0, named=True)
    in_dark = np.repeat(dark, 4)
    assert cell["fixed"] == (a & ~b & in_dark).sum()
    assert cell["broken"] == 0
    assert cell["q_value"] < 0.05
    assert cell["high"] < 0
    cause = found.cells.filter((pl.col("kind") == "cause") & (pl.col("name") == "darkness")).row(0, named=True)
    assert cause["fixed"] == cell["fixed"]
    assert (cause["named"], cause["named_fixed"]) == (a.sum(), (a & ~b).sum())
    assert (found.false_alarms.a, found.false_alarms.b) == (2, 7)
    assert found.false_alarms.difference == pytest.approx(5 / 100)
    assert found.differs == {"image_size": (640, 320)}
    said = " ".join(found.lines())
    assert f"B fixes {cell['fixed']} of {cell['missed_a']} misses and breaks 0" in said
    assert "image_size (640 in A, 320 in B)" in said
    assert "Recall is kept." in said


def test_p_value_of_single_objects_is_mcnemars(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    a, b = rng.random(120) < 0.3, rng.random(120) < 0.2
    found = comparing.compare(write_run(tmp_path / "a", a, per_photo=1), write_run(tmp_path / "b", b, per_photo=1))
    expected = mcnemar([[0, (b & ~a).sum()], [(a & ~b).sum(), 0]], exact=True).pvalue
    assert found.overall["p_value"] == pytest.approx(expected, rel=1e-9)


def test_changed_objects_are_listed(tmp_path: Path, outcomes) -> None:
    a, b, dark = outcomes
    found = xai.compare(write_run(tmp_path / "a", a, dark=dark), write_run(tmp_path / "b", b, dark=dark))
    listed = pl.read_csv(found.csv)
    assert listed["change"].value_counts().sort("change").rows() == [
        ("broken", (b & ~a).sum()), ("fixed", (a & ~b).sum())
    ]  # fmt: skip
    assert set(listed["cause"]) == {"darkness"}
    text = found.markdown_file.read_text()
    assert text == found.markdown()
    assert "| Darkness |" in text


def test_the_usual_state_and_slices_of_one_run_are_not_tested(tmp_path: Path, outcomes) -> None:
    a, b, dark = outcomes
    first, second = write_run(tmp_path / "a", a, dark=dark), write_run(tmp_path / "b", b, dark=dark)
    row = pl.DataFrame({"slice": ["brightness=dark & label=car"], "conditions": [["brightness=dark", "label=car"]]})
    tables.write(tables.conform(row, tables.TABLES["slices"]), first / "slices.parquet")
    cells = xai.compare(first, second).cells
    assert cells.filter(pl.col("kind") == "slice_a")["q_value"].to_list() == [None]
    assert cells.filter(pl.col("name") == "brightness=normal")["q_value"].to_list() == [None]
    assert cells.filter(pl.col("kind") == "all")["q_value"].to_list() == [None]
    own = cells.filter(pl.col("kind") == "slice_a").row(0, named=True)
    in_dark_cars = np.repeat(dark, 4) & (np.arange(400) % 2 == 1)
    assert own["fixed"] == (a & ~b & in_dark_cars).sum()


def test_different_sets_are_refused_or_compared_where_they_agree(tmp_path: Path, outcomes) -> None:
    a, b, dark = outcomes
    first = write_run(tmp_path / "a", a, dark=dark)
    second = write_run(tmp_path / "b", b[40:], dark=dark[10:], digest="e" * 64, first_photo=10)
    with pytest.raises(RequestError, match=r"dddddddddddd.*eeeeeeeeeeee.*; 360 objects are in both.*--common"):
        xai.compare(first, second)
    found = xai.compare(first, second, common=True)
    assert found.overall["objects"] == 360
    assert found.overall["fixed"] == (a & ~b)[40:].sum()
    assert found.left_out == 40
    assert "compared are the 360 objects that both hold" in found.lines()[0]
    third = write_run(tmp_path / "c", b, dark=dark, digest="f" * 64, first_photo=500)
    with pytest.raises(RequestError, match="no scored object in common"):
        xai.compare(first, third, common=True)


def test_groups_are_the_draws(tmp_path: Path, outcomes) -> None:
    a, b, dark = outcomes
    sites = [f"site {index // 10}" for index in range(100)]
    first, second = (write_run(tmp_path / name, part, dark=dark, group=sites) for name, part in (("a", a), ("b", b)))
    found = xai.compare(first, second)
    assert found.groups == 10
    assert found.overall["draws"] == 10
    single = xai.compare(write_run(tmp_path / "c", a, dark=dark), write_run(tmp_path / "d", b, dark=dark))
    assert found.overall["p_value"] > single.overall["p_value"]


def test_equal_runs_differ_in_nothing(tmp_path: Path, outcomes) -> None:
    a, _, dark = outcomes
    first, second = (write_run(tmp_path / name, a, dark=dark) for name in "ab")
    found = xai.compare(first, second)
    assert found.overall["p_value"] == 1
    assert found.overall["low"] < 0 < found.overall["high"]
    assert "No difference that is more than chance" in found.lines()[0]
    assert "settings of the detector are the same" in " ".join(found.lines())
    json.dumps(found.figures())


def test_wrong_requests(tmp_path: Path, outcomes) -> None:
    a, _, _ = outcomes
    first = write_run(tmp_path / "a", a)
    with pytest.raises(RunError, match=r"found no run\.json"):
        xai.compare(first, tmp_path / "nowhere")
    with pytest.raises(RequestError, match="reported misses"):
        xai.compare(first, write_run(tmp_path / "b", a, question="reported"))


def test_names_from_data_are_escaped(tmp_path: Path, outcomes) -> None:
    a, b, dark = outcomes
    for name, part in (("a", a), ("b", b)):
        folder = write_run(tmp_path / name, part, dark=dark)
        objects = pl.read_parquet(folder / "objects.parquet")
        renamed = objects.with_columns(pl.col("label").replace(CAR, "<b>\x1b[31m*car*|x"))
        renamed.write_parquet(folder / "objects.parquet")
    found = xai.compare(tmp_path / "a", tmp_path / "b")
    text = found.markdown()
    assert "<b>" not in text
    assert "\\*car\\*\\|x" in text
    assert "\x1b" not in "".join(found.lines())
    assert "<b>" not in found._repr_html_()
    shutil.rmtree(tmp_path / "a")
