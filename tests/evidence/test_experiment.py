from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import torch
from toy_detector import ToyDetector, photo_with

from xai.evidence.experiment import Spent, run_experiments
from xai.evidence.trial import ask
from xai.tables import TABLES
from xai.types import Pixels

BOX = (32, 32, 64, 64)
"""An object of exactly the toy's size: 16 of 64 input pixels in a photo of 128."""


def misses_of(rows: list[tuple[str, str, tuple[int, ...]]], **attributes: float | None) -> pl.DataFrame:
    frame = pl.DataFrame(
        [(error_id, image_id, "red", *map(float, box)) for error_id, image_id, box in rows],
        schema=["error_id", "image_id", "label", "x1", "y1", "x2", "y2"],
        orient="row",
    )
    return frame.with_columns(pl.lit(value, dtype=pl.Float64).alias(name) for name, value in attributes.items())


def plan_of(*rows: tuple[str, str, str, float]) -> pl.DataFrame:
    schema = {"error_id": pl.String, "cause": pl.String, "repair": pl.String, "priority": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def run(
    plan: pl.DataFrame,
    misses: pl.DataFrame,
    photos: dict[str, Pixels],
    *,
    detector: ToyDetector | None = None,
    budget: int = 40,
    done: Callable[[pl.DataFrame], None] | None = None,
) -> Spent:
    return run_experiments(
        plan,
        misses,
        misses,
        load_pixels=photos.__getitem__,
        detector=detector or ToyDetector(),
        budget_per_miss=budget,
        match_iou=0.5,
        done=done,
    )


def line(evidence: pl.DataFrame, kind: str, name: str) -> dict[str, float]:
    return evidence.filter((pl.col("kind") == kind) & (pl.col("name") == name)).row(0, named=True)


def test_the_right_repair_finds_the_object_and_placebos_do_not() -> None:
    upside_down = np.ascontiguousarray(np.rot90(photo_with(BOX), 2))
    misses = misses_of([("e", "a.jpg", (64, 32, 96, 64))], rotation=180.0)
    detector = ToyDetector()
    spent = run(plan_of(("e", "rotation", "turn_upright", 1.0)), misses, {"a.jpg": upside_down}, detector=detector)
    assert spent.evidence.schema == pl.Schema(TABLES["evidence"])
    assert spent.forwards == detector.forwards == 6, "untouched, three placebos, the repair, its own placebo"
    found = line(spent.evidence, "repair_found", "rotation")
    assert (found["before"], found["after"], found["placebo"], found["effect"]) == (0, 1, 0, 1)
    target = line(spent.evidence, "repair", "rotation")
    assert target["after"] == pytest.approx(1, abs=0.05)
    assert target["placebo"] < 0.35
    assert target["effect"] == pytest.approx(target["after"] - max(target["before"], target["placebo"]))
    names = spent.evidence.filter(pl.col("kind") == "placebo")["name"].to_list()
    assert names == ["flip", "shift", "resample", "turn_but_not_upright"]


def test_zooming_finds_a_small_object_and_lifting_a_dark_one() -> None:
    small, dark = photo_with((40, 40, 48, 48)), photo_with(BOX, light=0.2)
    misses = misses_of([("s", "small.jpg", (40, 40, 48, 48)), ("d", "dark.jpg", BOX)])
    plan = plan_of(
        ("s", "small_object", "zoom_in", 1.0),
        ("s", "darkness", "lift_shadows", 0.5),
        ("d", "darkness", "lift_shadows", 1.0),
        ("d", "small_object", "zoom_in", 0.5),
    )
    evidence = run(plan, misses, {"small.jpg": small, "dark.jpg": dark}).evidence
    effects = {
        (row["error_id"], row["name"]): row["effect"]
        for row in evidence.filter(pl.col("kind") == "repair").iter_rows(named=True)
    }
    assert effects["s", "small_object"] > 0.1
    assert effects["s", "small_object"] > effects.get(("s", "darkness"), 0.0) + 0.1
    assert effects["d", "darkness"] > effects.get(("d", "small_object"), 0.0) + 0.05


def test_lines_equal_asking_one_by_one() -> None:
    photo = photo_with(BOX, light=0.3)
    misses = misses_of([("e", "a", BOX)])
    evidence = run(plan_of(("e", "darkness", "lift_shadows", 1.0)), misses, {"a": photo}).evidence
    detector = ToyDetector()
    boxes, labels = np.array([[BOX]], dtype=float), np.array([0])
    alone = ask(detector, [photo], boxes, labels, match_iou=0.5).target[0, 0]
    assert line(evidence, "repair", "darkness")["before"] == pytest.approx(alone)
    mirrored = np.array([[(64, 32, 96, 64)]], dtype=float)
    flipped = ask(detector, [np.ascontiguousarray(photo[:, ::-1])], mirrored, labels, match_iou=0.5).target[0, 0]
    assert line(evidence, "placebo", "flip")["after"] == pytest.approx(flipped)


def test_misses_of_a_photo_share_its_reading_and_placebos() -> None:
    photo = photo_with(BOX, light=0.3)
    misses = misses_of([("e", "a", BOX), ("f", "a", (80, 40, 112, 72)), ("g", "a", (0, 0, 10, 10))])
    plan = plan_of(("e", "darkness", "lift_shadows", 1.0), ("f", "darkness", "lift_shadows", 1.0))
    reads: list[str] = []

    def load(image_id: str) -> Pixels:
        reads.append(image_id)
        return photo

    parts: list[pl.DataFrame] = []
    detector = ToyDetector()
    spent = run_experiments(
        plan,
        misses,
        misses,
        load_pixels=load,
        detector=detector,
        budget_per_miss=40,
        match_iou=0.5,
        done=parts.append,
    )
    assert reads == ["a"]
    assert spent.forwards == detector.forwards == 4 + 2
    assert set(spent.evidence["error_id"]) == {"e", "f"}
    assert pl.concat(parts).equals(spent.evidence)


@pytest.mark.parametrize("budget", [0, 1, 2, 3, 5, 9])
def test_the_budget_holds_and_goes_to_the_highest_priority(budget: int) -> None:
    photos = {f"{i}": photo_with(BOX, light=0.3) for i in range(4)}
    misses = misses_of([(f"e{i}", f"{i}", BOX) for i in range(4)], roll=8.0)
    plan = plan_of(
        *[(f"e{i}", "darkness", "lift_shadows", float(i)) for i in range(4)],
        *[(f"e{i}", "tilt", "level", i - 0.5) for i in range(4)],
        *[(f"e{i}", "large_object", "zoom_out", i - 0.7) for i in range(4)],
    )
    detector = ToyDetector()
    spent = run(plan, misses, photos, detector=detector, budget=budget)
    assert spent.forwards == detector.forwards <= budget * 4
    tried = spent.evidence.filter(pl.col("kind") == "repair")
    if budget == 2:
        assert tried.select("error_id", "name").rows() == [
            ("e3", "darkness"),
            ("e3", "tilt"),
            ("e3", "large_object"),
        ]
    if budget == 9:
        assert len(tried) == 12


def test_nothing_applies_nothing_is_spent() -> None:
    misses = misses_of([("e", "a", BOX)], rotation=None)
    plan = plan_of(("e", "rotation", "turn_upright", 1.0), ("e", "novelty", None, 1.0))  # type: ignore[arg-type]
    spent = run(plan, misses, {"a": photo_with(BOX)})
    assert spent.forwards == 0
    assert spent.evidence.is_empty()
    assert spent.evidence.schema == pl.Schema(TABLES["evidence"])


def test_no_misses() -> None:
    spent = run(plan_of(), misses_of([]).cast({"error_id": pl.String, "image_id": pl.String}), {})
    assert spent.forwards == 0
    assert spent.evidence.is_empty()


def test_wrong_requests_are_named() -> None:
    misses = misses_of([("e", "a", BOX)])
    with pytest.raises(ValueError, match=r"expected repairs among .*paint"):
        run(plan_of(("e", "x", "paint", 1.0)), misses, {"a": photo_with(BOX)})
    alien = misses.with_columns(label=pl.lit("zebra"))
    with pytest.raises(ValueError, match="zebra"):
        run(plan_of(("e", "darkness", "lift_shadows", 1.0)), alien, {"a": photo_with(BOX)})


def test_gradient_mode_is_restored_when_the_forward_fails() -> None:
    detector = ToyDetector()
    detector.fails = True
    assert torch.is_grad_enabled()
    with pytest.raises(RuntimeError, match="the forward fails"):
        run(
            plan_of(("e", "darkness", "lift_shadows", 1.0)),
            misses_of([("e", "a", BOX)]),
            {"a": photo_with(BOX, light=0.3)},
            detector=detector,
        )
    assert torch.is_grad_enabled()


def test_photos_of_several_shapes_answer_in_their_own_order() -> None:
    photos = [photo_with(BOX), photo_with((16, 16, 32, 32), size=(64, 64)), photo_with(BOX, light=0.5)] * 4
    boxes = np.array([[BOX], [(16, 16, 32, 32)], [BOX]] * 4, dtype=float)
    answers = ask(ToyDetector(), photos, boxes, np.array([0]), match_iou=0.5)
    single = [
        ask(ToyDetector(), [photo], box[None], np.array([0]), match_iou=0.5).target[0, 0]
        for photo, box in zip(photos, boxes, strict=True)
    ]
    np.testing.assert_allclose(answers.target[:, 0], single, atol=1e-6)
    assert answers.found[:, 0].tolist() == [True, True, False] * 4 or answers.found[0, 0]


def test_the_repair_that_comes_nearest_is_kept_for_the_report() -> None:
    small = photo_with((40, 40, 48, 48))
    misses = misses_of([("s", "small.jpg", (40, 40, 48, 48))])
    plan = plan_of(("s", "darkness", "lift_shadows", 1.0), ("s", "small_object", "zoom_in", 0.5))
    kept: list[tuple[str, str, tuple[float, ...]]] = []
    run_experiments(
        plan,
        misses,
        misses,
        load_pixels={"small.jpg": small}.__getitem__,
        detector=ToyDetector(),
        budget_per_miss=40,
        match_iou=0.5,
        keep=lambda error_id, cause, repaired: kept.append((error_id, cause, tuple(repaired.box))),
    )
    assert [(error_id, cause) for error_id, cause, _ in kept] == [("s", "small_object")]
    left, top, right, bottom = kept[0][2]
    assert right - left > 8, "the box is where the object lies in the repaired photo"
    assert bottom - top > 8
