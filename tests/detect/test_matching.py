import contextlib
import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from xai.config import DetectorConfig
from xai.detect.detector import load
from xai.detect.matching import NEAR_IOU, Matches, match

Scene = dict[str, np.ndarray]


def random_scene(seed: int, *, photos: int = 6, classes: int = 3, grid: int = 1) -> Scene:
    """Objects, and detections that are shaken copies of them or lie anywhere; a coarse grid makes IoUs tie."""
    generator = np.random.default_rng(seed)
    count, total = generator.integers(0, 40), generator.integers(0, 90)

    def boxes(n: int) -> np.ndarray:
        corner = generator.integers(0, 60 // grid, (n, 2)) * grid
        return np.hstack([corner, corner + generator.integers(1, 40 // grid, (n, 2)) * grid]).astype(float)

    scene = {
        "object_photo": generator.integers(0, photos, count),
        "object_boxes": boxes(count),
        "object_labels": generator.integers(0, classes, count),
        "object_ignored": generator.random(count) < 0.25,
        "detection_photo": generator.integers(0, photos, total),
        "detection_boxes": boxes(total),
        "detection_labels": generator.integers(0, classes, total),
        "detection_scores": generator.integers(1, 20, total) / 20,
    }
    if count:
        copies = np.flatnonzero(generator.random(total) < 0.6)
        source = generator.integers(0, count, len(copies))
        shake = generator.integers(-3, 4, (len(copies), 4)) * grid
        shaken = scene["object_boxes"][source] + shake
        shaken[:, 2:] = np.maximum(shaken[:, 2:], shaken[:, :2] + 1)
        scene["detection_boxes"][copies] = shaken
        scene["detection_photo"][copies] = scene["object_photo"][source]
        keep = generator.random(len(copies)) < 0.8
        scene["detection_labels"][copies[keep]] = scene["object_labels"][source[keep]]
    return scene


def overlap(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    width = max(min(first[2], second[2]) - max(first[0], second[0]), 0)
    height = max(min(first[3], second[3]) - max(first[1], second[1]), 0)
    area_1 = (first[2] - first[0]) * (first[3] - first[1])
    area_2 = (second[2] - second[0]) * (second[3] - second[1])
    union = area_1 + area_2 - width * height
    return width * height / union if union else 0.0, width * height / area_2 if area_2 else 0.0


def by_the_definition(scene: Scene, threshold: float, annotated: set[int]) -> tuple[list[str], list[str]]:
    """Outcomes, one object and one detection at a time, as the design words them."""
    objects, detections = range(len(scene["object_photo"])), range(len(scene["detection_photo"]))
    pairs = {
        (g, d): overlap(scene["object_boxes"][g], scene["detection_boxes"][d])
        for g in objects
        for d in detections
        if scene["object_photo"][g] == scene["detection_photo"][d]
    }

    def same(g: int, d: int) -> bool:
        return bool(scene["object_labels"][g] == scene["detection_labels"][d])

    taken: dict[int, int] = {}
    absorbed = set()
    for d in sorted(detections, key=lambda d: -scene["detection_scores"][d]):
        mine = [g for g in objects if (g, d) in pairs and same(g, d)]
        scored = [g for g in mine if not scene["object_ignored"][g] and g not in taken]
        fitting = [g for g in scored if pairs[g, d][0] >= threshold]
        if fitting:
            taken[max(fitting, key=lambda g: (pairs[g, d][0], g))] = d
        elif any(scene["object_ignored"][g] and pairs[g, d][1] >= threshold for g in mine):
            absorbed.add(d)
    unmatched = [d for d in detections if d not in taken.values() and d not in absorbed]
    object_outcomes = []
    for g in objects:
        near = [d for d in unmatched if (g, d) in pairs]
        if scene["object_ignored"][g]:
            object_outcomes.append("ignored")
        elif g in taken:
            object_outcomes.append("found")
        elif any(not same(g, d) and pairs[g, d][0] >= threshold for d in near):
            object_outcomes.append("confused")
        elif any(same(g, d) and NEAR_IOU <= pairs[g, d][0] < threshold for d in near):
            object_outcomes.append("mislocated")
        else:
            object_outcomes.append("missed")
    lost = [g for g in objects if object_outcomes[g] in {"confused", "mislocated", "missed"}]
    detection_outcomes = []
    for d in detections:
        near = [g for g in objects if (g, d) in pairs]
        if d in absorbed or scene["detection_labels"][d] not in annotated:
            detection_outcomes.append("ignored")
        elif d in taken.values():
            detection_outcomes.append("matched")
        elif any(g in taken and same(g, d) and pairs[g, d][0] >= threshold for g in near):
            detection_outcomes.append("duplicate")
        elif any(g in lost and not same(g, d) and pairs[g, d][0] >= threshold for g in near):
            detection_outcomes.append("confused")
        elif any(g in lost and same(g, d) and NEAR_IOU <= pairs[g, d][0] < threshold for g in near):
            detection_outcomes.append("mislocated")
        else:
            detection_outcomes.append("background")
    return object_outcomes, detection_outcomes


def pycocotools_counts(scene: Scene, threshold: float, annotated: set[int]) -> tuple[int, int, int]:
    """TP, FP, FN at one IoU threshold, all detections, ignored objects as crowds."""

    def xywh(box: np.ndarray) -> list[float]:
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]

    truth = [
        {
            "id": index + 1,
            "image_id": int(photo) + 1,
            "category_id": int(label) + 1,
            "bbox": xywh(box),
            "area": float(np.prod(box[2:] - box[:2])),
            "iscrowd": int(ignored),
        }
        for index, (photo, box, label, ignored) in enumerate(
            zip(
                scene["object_photo"],
                scene["object_boxes"],
                scene["object_labels"],
                scene["object_ignored"],
                strict=True,
            )
        )
    ]
    found = [
        {"image_id": int(photo) + 1, "category_id": int(label) + 1, "bbox": xywh(box), "score": float(score)}
        for photo, box, label, score in zip(
            scene["detection_photo"],
            scene["detection_boxes"],
            scene["detection_labels"],
            scene["detection_scores"],
            strict=True,
        )
        if label in annotated
    ]
    images = sorted({*(scene["object_photo"] + 1).tolist(), *(scene["detection_photo"] + 1).tolist()})
    if not found:
        return 0, 0, int((~scene["object_ignored"]).sum())
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": image} for image in images],
            "annotations": truth,
            "categories": [{"id": label + 1} for label in sorted(annotated)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.params.iouThrs = np.array([threshold])
        evaluation.params.maxDets = [10_000]
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
    hits = false = objects = 0
    for result in evaluation.evalImgs:
        if result is not None:
            counted = ~result["dtIgnore"][0].astype(bool)
            hits += int((counted & (result["dtMatches"][0] > 0)).sum())
            false += int((counted & (result["dtMatches"][0] == 0)).sum())
            objects += int((result["gtIgnore"] == 0).sum())
    return hits, false, objects - hits


def check_against_pycocotools(scene: Scene, result: Matches, threshold: float, annotated: set[int]) -> None:
    hits, false, lost = pycocotools_counts(scene, threshold, annotated)
    assert (result.object_outcome == "found").sum() == hits
    assert (result.detection_outcome == "matched").sum() == hits
    assert (~np.isin(result.detection_outcome, ["matched", "ignored"])).sum() == false
    assert np.isin(result.object_outcome, ["missed", "confused", "mislocated"]).sum() == lost


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.75])
@pytest.mark.parametrize("grid", [1, 5])
def test_equals_the_definition_and_pycocotools_on_random_scenes(threshold: float, grid: int) -> None:
    for seed in range(40):
        scene = random_scene(seed, grid=grid)
        annotated = {0, 1} | set(scene["object_labels"].tolist())
        result = match(**scene, iou_threshold=threshold, annotated_labels=annotated)
        expected = by_the_definition(scene, threshold, annotated)
        assert result.object_outcome.tolist() == expected[0], seed
        assert result.detection_outcome.tolist() == expected[1], seed
        check_against_pycocotools(scene, result, threshold, annotated)


def test_partners_fit_their_outcome() -> None:
    seen = set()
    for seed in range(60):
        scene = random_scene(seed)
        result = match(**scene, iou_threshold=0.5, annotated_labels={0, 1, 2})
        for g, (outcome, d) in enumerate(zip(result.object_outcome, result.object_detection, strict=True)):
            seen.add(outcome)
            if outcome in {"missed", "ignored"}:
                assert d == -1
                assert np.isnan(result.object_iou[g])
                continue
            iou, _ = overlap(scene["object_boxes"][g], scene["detection_boxes"][d])
            assert result.object_iou[g] == pytest.approx(iou)
            assert scene["object_photo"][g] == scene["detection_photo"][d]
            assert (scene["object_labels"][g] == scene["detection_labels"][d]) == (outcome != "confused")
            assert (iou >= 0.5) == (outcome != "mislocated")
            assert (result.detection_outcome[d] == "matched") == (outcome == "found")
        for d, (outcome, g) in enumerate(zip(result.detection_outcome, result.detection_object, strict=True)):
            seen.add(outcome)
            if outcome == "background":
                assert g == -1
            if outcome == "matched":
                assert result.object_detection[g] == d
            if outcome == "duplicate":
                assert result.object_outcome[g] == "found"
            if outcome == "ignored":
                assert scene["object_ignored"][g]
            if outcome in {"confused", "mislocated"}:
                assert result.object_outcome[g] in {"confused", "mislocated"}
    assert seen >= {"found", "confused", "mislocated", "missed", "ignored", "duplicate", "background", "matched"}


def test_equals_pycocotools_on_real_photos(data: Path, yolo_weights: Path) -> None:
    import cv2
    import torch

    detector = load(
        DetectorConfig(kind="ultralytics", weights=yolo_weights, score_threshold=0.05, image_size=320), "cpu"
    )
    names = {"aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle"}
    names |= {"pottedplant": "potted plant", "sofa": "couch", "tvmonitor": "tv"}
    codes = {name: code for code, name in enumerate(detector.names)}
    paths = sorted((data / "voc/eval/Annotations").glob("*.xml"))[:24]
    photos = [cv2.imread(str(data / f"voc/eval/JPEGImages/{path.stem}.jpg"))[..., ::-1].copy() for path in paths]
    rows = []
    for photo, path in enumerate(paths):
        for item in ElementTree.parse(path).getroot().iter("object"):
            name = item.findtext("name", "")
            corners = [float(item.findtext(f"bndbox/{side}", "nan")) for side in ("xmin", "ymin", "xmax", "ymax")]
            rows.append((photo, corners, codes[names.get(name, name)], item.findtext("difficult") == "1"))
    found = []
    with torch.no_grad():
        for prepared in detector.prepare(photos):
            results = detector.select(detector.forward(prepared.inputs), prepared)
            found += list(zip(prepared.indices, results, strict=True))
    scene = {
        "object_photo": np.array([row[0] for row in rows]),
        "object_boxes": np.array([row[1] for row in rows]),
        "object_labels": np.array([row[2] for row in rows]),
        "object_ignored": np.array([row[3] for row in rows]),
        "detection_photo": np.concatenate([np.full(len(result), photo) for photo, result in found]),
        "detection_boxes": np.concatenate([result.boxes for _, result in found]),
        "detection_labels": np.concatenate([result.labels for _, result in found]),
        "detection_scores": np.concatenate([result.scores for _, result in found]),
    }
    annotated = set(scene["object_labels"].tolist())
    result = match(**scene, iou_threshold=0.5, annotated_labels=annotated)
    assert scene["object_ignored"].sum() > 5
    check_against_pycocotools(scene, result, 0.5, annotated)


def test_nothing_at_all_and_only_one_side() -> None:
    empty = random_scene(0)
    nothing = {name: values[:0] for name, values in empty.items()}
    result = match(**nothing, iou_threshold=0.5, annotated_labels=[])
    assert len(result.object_outcome) == len(result.detection_outcome) == 0
    objects = {name: values[:0] if "detection" in name else values for name, values in empty.items()}
    alone = match(**objects, iou_threshold=0.5, annotated_labels=[0, 1, 2])
    assert set(alone.object_outcome) == {"missed", "ignored"}
    detections = {name: values[:0] if "object" in name else values for name, values in empty.items()}
    assert set(match(**detections, iou_threshold=0.5, annotated_labels=[0, 1, 2]).detection_outcome) == {"background"}
    assert set(match(**detections, iou_threshold=0.5, annotated_labels=[]).detection_outcome) == {"ignored"}


def test_empty_boxes_overlap_nothing() -> None:
    box = np.array([[5.0, 5.0, 5.0, 5.0]])
    one = np.array([0])
    result = match(
        object_photo=one,
        object_boxes=box,
        object_labels=one,
        object_ignored=np.array([False]),
        detection_photo=one,
        detection_boxes=box,
        detection_labels=one,
        detection_scores=np.array([0.9]),
        iou_threshold=0.5,
        annotated_labels=[0],
    )
    assert result.object_outcome.tolist() == ["missed"]
    assert result.detection_outcome.tolist() == ["background"]


def test_a_shard_of_many_photos_takes_moments() -> None:
    generator = np.random.default_rng(0)
    photos = np.repeat(np.arange(2000), 50)
    corner = generator.random((100_000, 2)) * 500
    boxes = np.hstack([corner, corner + 50])
    labels = generator.integers(0, 80, 100_000)
    result = match(
        object_photo=photos[::10],
        object_boxes=boxes[::10],
        object_labels=labels[::10],
        object_ignored=np.zeros(10_000, dtype=bool),
        detection_photo=photos,
        detection_boxes=boxes,
        detection_labels=labels,
        detection_scores=generator.random(100_000),
        iou_threshold=0.5,
        annotated_labels=range(80),
    )
    assert (result.object_outcome == "found").all()


def test_unequal_lengths_are_an_error() -> None:
    scene = random_scene(1)
    scene["object_labels"] = scene["object_labels"][1:]
    with pytest.raises(ValueError, match="objects: expected boxes"):
        match(**scene, iou_threshold=0.5, annotated_labels=[])
