"""Runs in order of time: funnel, promise, and what moved."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_comparing import write_run

import xai
from xai import run_json
from xai.exceptions import RequestError, RunError


def dated(folder: Path, day: int, misses: np.ndarray, **options) -> Path:
    """Write a run with a date, a funnel and an answer of its own."""
    write_run(folder, misses, **options)
    info = run_json.read(folder)
    rate = float(1 - misses.mean())
    steps = [("found", "photos"), ("read", "photos"), ("found", "objects"), ("valid", "objects"), ("used", "objects")]
    counts = [len(misses) // 4 + 3, len(misses) // 4, len(misses) + 9, len(misses) + 2, len(misses)]
    info["started_at"] = f"2026-03-{day:02d}T08:00:00+00:00"
    info["funnel"] = {
        "eval": [
            {"step": step, "unit": unit, "count": count, "lost": {"photo_truncated": 3} if step == "read" else {}}
            for (step, unit), count in zip(steps, counts, strict=True)
        ]
    }
    info["promise"] = [
        {"metric": "recall", "target": 0.9, "rate": rate, "low": rate - 0.03, "high": rate + 0.03,
         "answer": "not shown", "sentence": "-"}
    ]  # fmt: skip
    run_json.write(info, folder)
    return folder


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Dark photos rise from 5% to 40% in the last run; all photos are different ones."""
    rng = np.random.default_rng(0)
    made = []
    for place, share in enumerate((0.05, 0.05, 0.4)):
        dark = rng.random(200) < share
        misses = rng.random(800) < 0.1
        made.append(
            dated(tmp_path / f"run{place}", 10 + place, misses, dark=dark, digest=f"{place}abc" * 16,
                  first_photo=1000 * place)
        )  # fmt: skip
    return made


def test_order_is_of_time_and_moves_are_found(three: list[Path], tmp_path: Path) -> None:
    told = xai.history([three[2], three[0], three[1]], out=tmp_path / "out")
    assert told.runs["path"].to_list() == [str(path) for path in three]
    assert told.runs["photos_found"].to_list() == [203] * 3
    assert told.runs["lost"].to_list() == ["3 photo_truncated"] * 3
    assert told.runs["shared_photos"].to_list() == [None, 0, 0]
    surest = told.moves.filter(pl.col("q_value") <= 0.05)
    assert set(surest.select("earlier", "later").rows()) == {(1, 2), (0, 2)}
    assert set(surest["attribute"]) == {"brightness"}
    dark = surest.filter((pl.col("bin") == "dark") & (pl.col("earlier") == 1)).row(0, named=True)
    images = [pl.read_parquet(path / "images.parquet")["brightness"] for path in three]
    assert dark["after"] == pytest.approx((images[2] < 0.2).mean())
    assert dark["before"] == pytest.approx((images[1] < 0.2).mean())
    assert dark["unit"] == "photos"
    assert dark["low"] > 1
    said = "\n".join(told.lines())
    assert "Dark photo, of photos: " in said
    assert "recall" in said
    assert "200 of 203 photos read, 800 of 809 objects judged" in said
    for name in ("runs", "shares", "moves"):
        assert pl.read_csv(told.files[name]).height == getattr(told, name).height
    assert told.files["picture"].read_bytes().startswith(b"\x89PNG")
    assert told._repr_png_() == told.figure()


def test_shares_add_up(three: list[Path]) -> None:
    shares = xai.history(three).shares
    sums = shares.filter(pl.col("attribute") == "brightness").group_by("run").agg(pl.col("share").sum())
    assert sums["share"].to_list() == pytest.approx([1, 1, 1])
    assert ((shares["low"] <= shares["share"]) & (shares["share"] <= shares["high"])).all()


def test_the_same_photos_cannot_move(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    dark = rng.random(100) < 0.2
    misses = rng.random(400) < 0.2
    fewer = misses & (rng.random(400) < 0.6)
    told = xai.history([dated(tmp_path / "a", 1, misses, dark=dark), dated(tmp_path / "b", 2, fewer, dark=dark)])
    assert told.moves["attribute"].to_list() == ["miss rate"]
    assert told.moves["q_value"][0] < 0.01
    assert told.runs["shared_photos"].to_list() == [None, 100]
    assert "cannot move" in told.lines()[0]


def test_photos_of_the_run_before_are_paired(tmp_path: Path) -> None:
    """Most photos stay; the few that are new are not enough to say that anything moved."""
    rng = np.random.default_rng(2)
    dark = rng.random(210) < 0.2
    misses = rng.random(840) < 0.1
    first = dated(tmp_path / "a", 1, misses[:800], dark=dark[:200], digest="1" * 64)
    second = dated(tmp_path / "b", 2, misses[40:], dark=dark[10:], digest="2" * 64, first_photo=10)
    told = xai.history([first, second])
    assert told.runs["shared_photos"].to_list() == [None, 190]
    assert told.moves["q_value"].min() > 0.2
    assert "None of" in told.lines()[-1]


def test_shared_photos_are_told_by_content_not_by_group(tmp_path: Path) -> None:
    """The same two sites were photographed again: no photo is shared, though every group is."""
    misses = np.arange(400) % 9 == 0
    sites = [f"site {place % 2}" for place in range(100)]
    first = dated(tmp_path / "a", 1, misses, group=sites, digest="1" * 64)
    second = dated(tmp_path / "b", 2, misses, group=sites, digest="2" * 64, first_photo=90)
    assert xai.history([first, second]).runs["shared_photos"].to_list() == [None, 10]
    images = pl.read_parquet(second / "images.parquet")
    images.with_columns(sha256=pl.lit(None, pl.String)).write_parquet(second / "images.parquet")
    assert xai.history([first, second]).runs["shared_photos"].to_list() == [None, None]


def test_runs_without_a_digest_are_not_taken_for_the_same_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    paths = []
    for place, share in enumerate((0.05, 0.4)):
        folder = dated(
            tmp_path / f"d{place}", place + 1, rng.random(800) < 0.1, dark=rng.random(200) < share,
            first_photo=1000 * place,
        )  # fmt: skip
        info = run_json.read(folder)
        del info["data"]["eval"]["sha256"]
        run_json.write(info, folder)
        paths.append(folder)
    told = xai.history(paths)
    assert "brightness" in told.moves.filter(pl.col("q_value") <= 0.05)["attribute"].to_list()
    assert not any("same photos and labels" in note for note in told.notes)


def test_objects_that_no_detector_was_asked_about_are_no_finds(tmp_path: Path) -> None:
    """100 of 800 objects are missed, 400 have no outcome: the rate is 100 of 400."""
    misses = np.arange(800) < 100
    paths = [dated(tmp_path / name, day, misses, digest=name * 64, first_photo=1000 * day)
             for day, name in enumerate("ab", start=1)]  # fmt: skip
    for path in paths:
        objects = pl.read_parquet(path / "objects.parquet")
        unasked = pl.int_range(pl.len()) >= 400
        objects.with_columns(outcome=pl.when(~unasked).then("outcome")).write_parquet(path / "objects.parquet")
    told = xai.history(paths)
    rates = told.shares.filter(pl.col("attribute") == "miss rate")
    assert rates.select("count", "of", "share").rows() == [(100, 400, 0.25)] * 2
    cars = told.shares.filter((pl.col("attribute") == "label") & (pl.col("bin") == "car"))
    assert cars["of"].to_list() == [800, 800]
    moved = told.moves.filter(pl.col("attribute") == "miss rate")
    assert moved.select("before", "after").rows() == [(0.25, 0.25)]


def test_production_photos_have_no_miss_rate(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    paths = []
    for place, share in enumerate((0.05, 0.4)):
        folder = dated(
            tmp_path / f"p{place}", place + 1, rng.random(800) < 0.1, dark=rng.random(200) < share,
            question="reported", first_photo=1000 * place,
        )  # fmt: skip
        for name in ("images", "objects"):
            frame = pl.read_parquet(folder / f"{name}.parquet")
            frame.with_columns(split=pl.lit("production")).write_parquet(folder / f"{name}.parquet")
        info = run_json.read(folder)
        info["data"] = {"production": {"sha256": str(place), "captured_at": ["2026-01-01", "2026-01-31"]}}
        info["promise"] = [{"metric": "recall", "target": 0.9, "rate": None, "answer": "not shown", "sentence": "-"}]
        run_json.write(info, folder)
        paths.append(folder)
    told = xai.history(paths)
    assert set(told.shares["unit"]) == {"photos"}
    assert "miss rate" not in told.moves["attribute"].to_list()
    assert set(told.moves.filter(pl.col("q_value") < 0.05)["attribute"]) == {"brightness"}
    assert any("recall: promised 90%, not shown" in line for line in told.lines())
    assert told.figure().startswith(b"\x89PNG")


def test_wrong_requests(three: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="two or more different runs"):
        xai.history(three[:1])
    with pytest.raises(RequestError, match="two or more different runs"):
        xai.history([three[0], three[0]])
    with pytest.raises(RunError, match=r"found no run\.json"):
        xai.history([three[0], tmp_path / "nowhere"])
    other = dated(tmp_path / "reported", 5, np.zeros(8, dtype=bool), question="reported")
    with pytest.raises(RequestError, match="the same question"):
        xai.history([three[0], other])
