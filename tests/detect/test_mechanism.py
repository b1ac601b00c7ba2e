import numpy as np
import polars as pl
import pytest
import torch

from xai import tables
from xai.detect.candidates import summarise
from xai.detect.error_rows import error_rows, errors
from xai.types import Candidates, Prepared


def prepared(count: int, scale: float = 1.0, offset: float = 0.0) -> Prepared:
    return Prepared(
        indices=tuple(range(count)),
        inputs=torch.zeros(count, 3, 64, 64),
        scale=np.full((count, 2), scale),
        offset=np.full((count, 2), offset),
        sizes=np.full((count, 2), 64),
    )


def random_boxes(generator: np.random.Generator, *shape: int) -> np.ndarray:
    corner = generator.random((*shape, 2)) * 40
    return np.concatenate([corner, corner + 3 + generator.random((*shape, 2)) * 30], axis=-1)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    width = max(min(first[2], second[2]) - max(first[0], second[0]), 0)
    height = max(min(first[3], second[3]) - max(first[1], second[1]), 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return float(width * height / (areas - width * height)) if areas > width * height else 0.0


def one_by_one(
    boxes: np.ndarray, scores: np.ndarray, truth: np.ndarray, labels: np.ndarray, match_iou: float
) -> list[dict[str, float]]:
    """The summary of one photo by its definition, one candidate and class at a time."""
    count, classes = scores.shape

    def iou(g: int, c: int, k: int) -> float:
        return overlap(truth[g], boxes[c] if boxes.ndim == 2 else boxes[c, k])

    def fits_another(g: int, c: int, k: int) -> bool:
        return any(labels[h] == k and h != g and iou(h, c, k) > iou(g, c, k) for h in range(len(truth)))

    rows = []
    for g, label in enumerate(labels):
        row = dict.fromkeys(tables.CANDIDATES, np.nan)
        row["cand_max_iou"] = max(iou(g, c, k) for c in range(count) for k in range(classes))
        own = [(scores[c, label], iou(g, c, label), c) for c in range(count)] if label >= 0 else []
        if own:
            row["cand_target"] = max(score * value for score, value, _ in own)
        covering = [(score, value) for score, value, _ in own if value >= match_iou]
        if covering:
            row["cand_score"], row["cand_iou"] = max(covering)
        loose = [(s, value) for s, value, c in own if 0.1 <= value < match_iou and not fits_another(g, c, label)]
        if loose:
            row["cand_loose_score"], row["cand_loose_iou"] = max(loose)
        others = [
            (scores[c, k], k)
            for c in range(count)
            for k in range(classes)
            if k != label and iou(g, c, k) >= match_iou and not fits_another(g, c, k)
        ]
        if others:
            row["cand_other_score"], row["cand_other_label"] = max(others)
        rows.append(row)
    return rows


@pytest.mark.parametrize("per_class", [False, True])
def test_summary_equals_its_definition(per_class: bool) -> None:
    generator = np.random.default_rng(3)
    for trial in range(8):
        counts = [int(generator.integers(0, 6)) for _ in range(2)]
        shape = (2, 25, 4) if per_class else (2, 25)
        boxes, scores = random_boxes(generator, *shape), generator.random((2, 25, 4))
        truth = [random_boxes(generator, count) for count in counts]
        labels = [generator.integers(-1, 4, count) for count in counts]
        for photo in range(2):
            for g in range(counts[photo]):  # some candidates lie on the objects
                boxes[photo, 3 * g : 3 * g + 3] = truth[photo][g] + generator.normal(0, 1, (3, *boxes.shape[2:]))
        candidates = Candidates(torch.from_numpy(boxes), torch.from_numpy(scores).requires_grad_())
        scaled = [(item - 5.0) / 2.0 for item in truth]
        result = summarise(candidates, prepared(2, 2.0, 5.0), scaled, labels, 0.5)
        expected = [
            row
            for photo in range(2)
            for row in one_by_one(boxes[photo], scores[photo], truth[photo], labels[photo], 0.5)
        ]
        assert set(result) == set(tables.CANDIDATES)
        for name, values in result.items():
            np.testing.assert_allclose(values, [row[name] for row in expected], atol=1e-9, err_msg=f"{trial} {name}")


def test_greatest_iou_is_not_told_of_incomplete_candidates() -> None:
    candidates = Candidates(torch.tensor([[[0.0, 0, 10, 10]]]), torch.tensor([[[0.5, 0.0]]]))
    truth, labels = [np.array([[0.0, 0, 10, 5]])], [np.array([0])]
    whole = summarise(candidates, prepared(1), truth, labels, 0.5)
    partial = summarise(candidates, prepared(1), truth, labels, 0.5, complete=False)
    assert whole["cand_max_iou"].tolist() == [0.5]
    assert np.isnan(partial["cand_max_iou"]).all()
    for name in set(whole) - {"cand_max_iou"}:
        np.testing.assert_array_equal(whole[name], partial[name])


def test_no_objects_and_no_candidates() -> None:
    candidates = Candidates(torch.zeros(2, 0, 4), torch.zeros(2, 0, 3))
    nothing = np.empty(0, dtype=np.int64)
    one = [np.array([[1.0, 1, 5, 5]]), np.empty((0, 4))]
    result = summarise(candidates, prepared(2), one, [np.array([0]), nothing], 0.5)
    told = {name: values.tolist() for name, values in result.items() if not np.isnan(values).all()}
    assert told == {"cand_max_iou": [0.0], "cand_target": [0.0]}
    padded = Candidates(torch.zeros(2, 7, 4), torch.zeros(2, 7, 3))
    result = summarise(padded, prepared(2), one, [np.array([0]), nothing], 0.5)
    assert result["cand_max_iou"].tolist() == [0.0]
    assert np.isnan(result["cand_score"]).all()


def scene(rows: list[dict[str, object]], detections: list[dict[str, object]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    box = {"x1": 100.0, "y1": 100.0, "x2": 200.0, "y2": 150.0}
    objects = [
        {"image_id": f"{index}.jpg", "object_id": 0, "label": "car", **box, **row} for index, row in enumerate(rows)
    ]
    base = {"outcome": "background", "label": "car", "score": 0.5, "prediction_id": 0, **box}
    predictions = [{**base, **row} for row in detections]
    schema = {**tables.TABLES["objects"], **tables.CANDIDATES}
    return (
        tables.conform(pl.DataFrame(objects, infer_schema_length=None), schema),
        tables.conform(pl.DataFrame(predictions), tables.TABLES["predictions"])
        if predictions
        else tables.empty(tables.TABLES["predictions"]),
    )


CASES: list[tuple[str, dict[str, object], tuple[float | None, float | None, str | None]]] = [
    ("unknown", {}, (None, None, None)),
    ("no_candidate", {"cand_max_iou": 0.04}, (None, 0.04, None)),
    ("no_candidate", {"cand_max_iou": 0.7, "cand_score": 0.01, "cand_iou": 0.6}, (0.01, 0.7, None)),
    ("low_score", {"cand_max_iou": 0.9, "cand_score": 0.2, "cand_iou": 0.8}, (0.2, 0.8, "car")),
    (
        "no_candidate",  # the best of many other classes is noise too
        {"cand_max_iou": 0.9, "cand_score": 0.01, "cand_iou": 0.8, "cand_other_score": 0.1, "cand_other_label": "bus"},
        (0.01, 0.9, None),
    ),
    (
        "wrong_class",
        {"cand_max_iou": 0.9, "cand_score": 0.01, "cand_iou": 0.8, "cand_other_score": 0.2, "cand_other_label": "bus"},
        (0.2, None, "bus"),
    ),
    ("suppressed", {"cand_max_iou": 0.9, "cand_score": 0.4, "cand_iou": 0.8}, (0.4, 0.8, "car")),
    (
        "wrong_class",
        {"cand_max_iou": 0.9, "cand_score": 0.1, "cand_iou": 0.8, "cand_other_score": 0.6, "cand_other_label": "bus"},
        (0.6, None, "bus"),
    ),
    ("poor_box", {"cand_max_iou": 0.4, "cand_loose_score": 0.5, "cand_loose_iou": 0.4}, (0.5, 0.4, "car")),
    ("poor_box", {"cand_max_iou": 0.4, "cand_loose_score": 0.1, "cand_loose_iou": 0.4}, (0.1, 0.4, "car")),
    (
        "low_score",  # the box beside is another car's, which suppressed it
        {"cand_max_iou": 0.8, "cand_score": 0.2, "cand_iou": 0.7, "cand_loose_score": 0.9, "cand_loose_iou": 0.2},
        (0.2, 0.7, "car"),
    ),
]


CASES = [(mechanism, {**row, "cand_target": 0.1} if row else row, best) for mechanism, row, best in CASES]
"""``cand_target`` is told of every object that the detector was asked about."""

UNSEEN: list[tuple[str, dict[str, object]]] = [
    ("unknown", {}),
    ("unknown", {"cand_score": 0.01, "cand_iou": 0.8}),
    ("unknown", {"cand_score": 0.4, "cand_iou": 0.8}),  # returned, but taken for a neighbour
    ("low_score", {"cand_score": 0.2, "cand_iou": 0.8}),
    ("wrong_class", {"cand_score": 0.1, "cand_iou": 0.8, "cand_other_score": 0.6, "cand_other_label": "bus"}),
    ("poor_box", {"cand_loose_score": 0.5, "cand_loose_iou": 0.4}),
]


@pytest.mark.parametrize(("expected", "candidate"), UNSEEN)
def test_mechanism_where_only_what_was_returned_is_seen(expected: str, candidate: dict[str, object]) -> None:
    objects, predictions = scene([{"outcome": "missed", "cand_target": 0.1, **candidate}], [])
    found = errors(objects, predictions, score_threshold=0.25, match_iou=0.5)
    assert found["mechanism"].to_list() == [expected]


def test_confused_where_only_what_was_returned_is_seen() -> None:
    row = {"outcome": "confused", "prediction_id": 0, "score": 0.7, "iou": 0.8, "cand_target": 0.2}
    detection = [{"image_id": "0.jpg", "label": "bus", "outcome": "confused", "score": 0.7}]
    found = errors(*scene([row], detection), score_threshold=0.25, match_iou=0.5)
    assert found["mechanism"].to_list() == ["wrong_class"]


@pytest.mark.parametrize(("expected", "candidate", "best"), CASES)
def test_mechanism_of_an_object_without_detection(
    expected: str, candidate: dict[str, object], best: tuple[float | None, float | None, str | None]
) -> None:
    objects, predictions = scene([{"outcome": "missed", **candidate}], [])
    found = errors(objects, predictions, score_threshold=0.25, match_iou=0.5)
    assert found.select("mechanism", "best_score", "best_iou", "best_label").row(0) == (expected, *best)


def test_confused_with_a_detection() -> None:
    row = {
        "outcome": "confused",
        "prediction_id": 0,
        "score": 0.7,
        "iou": 0.8,
        "cand_max_iou": 0.9,
        "cand_score": 0.3,
        "cand_target": 0.1,
    }
    detection = [{"image_id": "0.jpg", "label": "bus", "outcome": "confused", "score": 0.7}]
    found = errors(*scene([{**row, "cand_other_score": 0.7}], detection), score_threshold=0.25, match_iou=0.5)
    assert found.select("mechanism", "best_score", "best_iou", "best_label").row(0) == ("wrong_class", 0.7, 0.8, "bus")


@pytest.mark.parametrize(
    ("box", "score", "expected"),
    [
        ((150, 100, 250, 150), 0.9, "annotation"),
        ((150, 100, 250, 150), 0.4, "poor_box"),  # not sure enough to contradict the label
        ((150, 100, 450, 150), 0.9, "poor_box"),  # another size: the regressor is wrong
    ],
)
def test_a_sure_detection_of_the_same_size_contradicts_the_label(
    box: tuple[float, ...], score: float, expected: str
) -> None:
    row = {
        "outcome": "mislocated",
        "prediction_id": 0,
        "score": score,
        "iou": 0.33,
        "cand_max_iou": 0.45,
        "cand_target": 0.1,
    }
    corners = dict(zip(("x1", "y1", "x2", "y2"), map(float, box), strict=True))
    detection = [{"image_id": "0.jpg", "outcome": "mislocated", "score": score, **corners}]
    objects, predictions = scene([{**row, "cand_loose_score": score, "cand_loose_iou": 0.33}], detection)
    found = errors(objects, predictions, score_threshold=0.25, match_iou=0.5)
    assert found.select("mechanism", "best_score", "best_iou").row(0) == (expected, score, 0.33)


def test_an_object_annotated_twice_contradicts_the_label() -> None:
    found_one = {"outcome": "found", "image_id": "0.jpg", "object_id": 1, "score": 0.8, "x1": 102.0}
    objects, predictions = scene(
        [{"outcome": "missed", "cand_max_iou": 0.9, "cand_score": 0.8, "cand_target": 0.1}, found_one], []
    )
    found = errors(objects, predictions, score_threshold=0.25, match_iou=0.5)
    assert found.select("mechanism", "best_score", "best_label").row(0) == ("annotation", 0.8, "car")
    assert found["best_iou"][0] == pytest.approx(0.98)
    bus = objects.with_columns(label=pl.when(pl.col("object_id") == 1).then(pl.lit("bus")).otherwise("label"))
    assert errors(bus, predictions, score_threshold=0.25, match_iou=0.5)["mechanism"].to_list() == ["suppressed"]


def test_false_detections_have_no_mechanism_and_rows_stay_in_order() -> None:
    objects, predictions = scene(
        [
            {"outcome": "missed", "cand_max_iou": 0.0, "cand_target": 0.1},
            {"outcome": "found"},
            {"outcome": "missed", "cand_max_iou": 0.0, "cand_target": 0.1},
        ],
        [{"image_id": "1.jpg"}, {"image_id": "0.jpg", "prediction_id": 3}],
    )
    found = errors(objects, predictions, score_threshold=0.25, match_iou=0.5)
    assert found["mechanism"].to_list() == ["no_candidate", "no_candidate", None, None]
    assert found["error_id"].to_list() == error_rows(objects, predictions)["error_id"].to_list()
    assert dict(found.schema) == dict(tables.TABLES["errors"])


def test_no_errors_at_all() -> None:
    objects, predictions = scene([{"outcome": "found"}], [])
    assert len(errors(objects, predictions, score_threshold=0.25, match_iou=0.5)) == 0
    assert len(errors(objects.clear(), predictions, score_threshold=0.25, match_iou=0.5)) == 0
