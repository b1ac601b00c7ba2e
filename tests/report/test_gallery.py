from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from make_run import make_run
from PIL import Image

from xai import report, tables
from xai.report import gallery
from xai.report.cards import NEARBY
from xai.report.source import open_run


def _iou(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    wide = max(0.0, min(a["x2"], b["x2"]) - max(a["x1"], b["x1"]))
    high = max(0.0, min(a["y2"], b["y2"]) - max(a["y1"], b["y1"]))
    area = (a["x2"] - a["x1"]) * (a["y2"] - a["y1"]) + (b["x2"] - b["x1"]) * (b["y2"] - b["y1"])
    return wide * high / (area - wide * high)


def test_nearby_detections_equal_a_search_by_hand(run_dir: Path) -> None:
    built = gallery.build(open_run(run_dir), report.summarize(run_dir))
    predictions = [row for row in tables.read(run_dir, "predictions").rows(named=True) if row["split"] == "eval"]
    assert any(card.nearby for card in built.cards)
    for card in built.cards:
        row, (_, _, width, height) = card.row, card.box
        near = [
            prediction
            for prediction in predictions
            if prediction["image_id"] == row["image_id"]
            and prediction["x1"] < row["x2"] + width / 2
            and prediction["x2"] > row["x1"] - width / 2
            and prediction["y1"] < row["y2"] + height / 2
            and prediction["y2"] > row["y1"] - height / 2
        ]
        expected = sorted(((_iou(row, item), item["score"]) for item in near), reverse=True)[:NEARBY]
        assert [item["iou"] for item in card.nearby] == pytest.approx([iou for iou, _ in expected])
        assert [item["score"] for item in card.nearby] == [score for _, score in expected]


def test_the_close_look_holds_the_box_and_stays_inside_the_photo(run_dir: Path) -> None:
    cards = [card for card in gallery.build(open_run(run_dir), report.summarize(run_dir)).cards if card.photo]
    assert len(cards) == 12
    for card in cards:
        assert card.close is not None
        assert card.box is not None
        left, top, width, height = card.close
        x, y, w, h = card.box
        assert left >= 0
        assert top >= 0
        assert left + width <= card.row["width"] + 1e-6
        assert top + height <= card.row["height"] + 1e-6
        assert left <= x + 1e-6
        assert top <= y + 1e-6
        assert left + width >= x + w - 1e-6
        assert top + height >= y + h - 1e-6
        assert width / height == pytest.approx(card.row["width"] / card.row["height"])


def test_every_cause_gets_its_turn_when_cards_are_few(full_run: Path) -> None:
    run = full_run
    source, summary = open_run(run), report.summarize(run)
    whole = gallery.build(source, summary)
    assert len(whole.cards) == summary.misses
    causes = {card.row["shown_cause"] for card in whole.cards}
    few = gallery.build(source, summary, max_cards=len(causes))
    assert {card.row["shown_cause"] for card in few.cards} == causes
    for card in few.cards:
        rivals = [other.row["strength"] for other in whole.cards if other.row["shown_cause"] == card.row["shown_cause"]]
        assert card.row["strength"] == max(rivals)


def test_ledgers_belong_to_their_miss(run_dir: Path) -> None:
    evidence = tables.read(run_dir, "evidence")
    for card in gallery.build(open_run(run_dir), report.summarize(run_dir)).cards:
        own = evidence.filter(pl.col("error_id") == card.row["error_id"])
        lines = [dict(line) for group in card.ledger.values() for line in group]
        assert sorted(map(repr, lines)) == sorted(map(repr, own.rows(named=True)))
        assert (
            next(iter(card.ledger)) == card.row["cause"] or not own.filter(pl.col("name") == card.row["cause"]).height
        )
        assert list(card.ledger)[-2:] == ["placebo", "control"]


def test_pictures_beyond_the_cap_stay_beside_the_page(full_run: Path) -> None:
    source, summary = open_run(full_run), report.summarize(full_run)
    built = gallery.build(source, summary, embedded=3)
    inside = [card for card in built.cards if card.photo and card.photo.embedded]
    outside = [card for card in built.cards if card.photo and not card.photo.embedded]
    assert (len(inside), len(outside)) == (3, built.beside) == (3, summary.misses - 3)
    for card in outside:
        for picture in (card.photo, card.heat_map, card.repaired.picture if card.repaired else None):
            assert picture is None or (full_run / picture.uri).is_file()
    assert any(card.heat_map for card in outside)


def test_repaired_photos_say_what_became_of_the_object(full_run: Path) -> None:
    evidence = tables.read(full_run, "evidence").filter(kind="repair_found", name="small_object")
    found = dict(evidence.select("error_id", "after").iter_rows())
    cards = [card for card in gallery.build(open_run(full_run), report.summarize(full_run)).cards if card.repaired]
    assert len(cards) == 10
    for card in cards:
        assert card.repaired is not None
        assert card.repaired.cause == "small_object"
        assert card.repaired.found == (found.get(card.row["error_id"]) == 1)


def test_slices_hold_the_misses_that_lie_in_all_their_conditions(run_dir: Path) -> None:
    source, summary = open_run(run_dir), report.summarize(run_dir)
    slices = [{"conditions": ["object_size=tiny"]}, {"conditions": ["label=car", "object_size=tiny"]}]
    for card in gallery.build(source, summary, slices).cards:
        tiny = "object_size=tiny" in card.row["conditions"]
        assert (0 in card.slices) == tiny
        assert (1 in card.slices) == (tiny and card.row["label"] == "car")


def test_training_objects_that_look_alike_stand_beside_their_miss(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=20, gallery=0)
    source, summary = open_run(run), report.summarize(run)
    assert all(card.nearest == () for card in gallery.build(source, summary).cards), "a run without the table"
    miss = source.misses.row(0, named=True)
    alike = tables.read(run, "objects").filter(split="train").head(3)
    rows = pl.DataFrame({"rank": [3, 1, 2], "distance": [0.3, 0.1, 0.2]}).with_columns(
        image_id=pl.lit(miss["image_id"]),
        object_id=pl.lit(miss["object_id"]),
        train_image_id=alike["image_id"],
        train_object_id=alike["object_id"],
    )
    tables.write(rows, run / "nearest.parquet")
    (run / "alike").mkdir()
    Image.new("RGB", (344, 112), "red").save(run / "alike" / f"{miss['error_id']}.jpg")
    Image.new("RGB", (640, 480)).save(run / "gallery" / f"{miss['error_id']}.jpg")
    cards = gallery.build(open_run(run), summary).cards
    (card,) = [card for card in cards if card.nearest]
    assert card.row["error_id"] == miss["error_id"]
    assert card.alike is not None
    assert card.alike.size == (344, 112)
    assert [item["distance"] for item in card.nearest] == [0.1, 0.2, 0.3]
    assert [item["outcome"] for item in card.nearest] == [alike["outcome"][place] for place in (1, 2, 0)]
    assert "Most alike in the training set" in report.render(run).read_text(encoding="utf-8")


def test_strengths_are_named_where_a_cause_is(run_dir: Path) -> None:
    for card in gallery.build(open_run(run_dir), report.summarize(run_dir)).cards:
        strength = card.row["strength"]
        expected = "strong" if strength >= 0.7 else "medium" if strength >= 0.4 else "weak"
        assert card.strength == (None if card.row["verdict"] in ("chance", "unexplained") else expected)


def test_misses_of_one_photo_share_its_picture(full_run: Path) -> None:
    built = gallery.build(open_run(full_run), report.summarize(full_run))
    per_photo = {card.row["image_id"]: card.photo.key for card in built.cards}
    assert len(built.pictures) == len(set(per_photo.values())) <= len(per_photo) < len(built.cards)
    assert np.all([card.photo.key == per_photo[card.row["image_id"]] for card in built.cards])
