"""The batch core: one decode for tagging and detection, and detectors that read pixels as the file holds them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from attributes.angle import DEFAULT_FOCAL
from attributes.decode import Photo
from attributes.frames import stored_boxes, stored_pixels
from xai import batch, detect
from xai.batch import Batch, Labelled
from xai.config import DetectorConfig
from xai.demo import dataset
from xai.demo.run import CHECKPOINT
from xai.types import Boxes, Detections, Detector, Pixels, PredictedOnly

ORIENTATIONS = (1, 3, 5, 6, 8)


@pytest.fixture(scope="module")
def detector() -> Detector:
    config = DetectorConfig(kind="torchvision", weights=CHECKPOINT, score_threshold=0.3, image_size=320)
    loaded = detect.load(config, "cpu")
    assert not isinstance(loaded, PredictedOnly)
    return loaded


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pixels, Boxes]:
    """Return a folder with one scene stored in several orientations, the scene as displayed, and its boxes."""
    folder = tmp_path_factory.mktemp("turned")
    scene = dataset.evaluation_scene(0)
    for orientation in ORIENTATIONS:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(stored_pixels(scene.pixels, orientation)).save(folder / f"{orientation}.png", exif=exif)
    return folder, scene.pixels, scene.boxes


def process(root: Path, detector: Detector, boxes: Boxes, *, as_stored: bool) -> Batch:
    def label(ids: Sequence[str], read: Sequence[Photo]) -> list[Labelled]:
        nothing = np.zeros(len(boxes), dtype=np.int64)
        return [Labelled(boxes, nothing, nothing.astype(bool)) for _ in ids]

    names = [f"{orientation}.png" for orientation in ORIENTATIONS]
    (result,) = batch.process(
        root,
        names,
        label=label,
        detector=detector,
        detect_ids=set(names),
        match_iou=0.5,
        workers=2,
        as_stored=as_stored,
    )
    return result


def alone(detector: Detector, pixels: Pixels) -> Detections:
    (prepared,) = detector.prepare([pixels])
    (found,) = detector.select(detector.forward(prepared.inputs), prepared)
    return found


def test_exif_is_applied_before_detection(photos: tuple[Path, Pixels, Boxes], detector: Detector) -> None:
    root, pixels, boxes = photos
    expected = alone(detector, pixels)
    assert len(expected)
    for found in process(root, detector, boxes, as_stored=False).detections:
        assert found is not None
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-2)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)


def test_a_detector_that_ignores_exif_sees_stored_pixels(
    photos: tuple[Path, Pixels, Boxes], detector: Detector
) -> None:
    root, pixels, boxes = photos
    height, width = pixels.shape[:2]
    result = process(root, detector, boxes, as_stored=True)
    upright = process(root, detector, boxes, as_stored=False)
    for index, orientation in enumerate(ORIENTATIONS):
        found = result.detections[index]
        assert found is not None
        expected = alone(detector, stored_pixels(pixels, orientation))
        np.testing.assert_allclose(stored_boxes(found.boxes, orientation, width, height), expected.boxes, atol=1e-2)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    count = len(boxes)
    target = result.candidates["cand_target"].reshape(-1, count)
    np.testing.assert_allclose(target[0], upright.candidates["cand_target"].reshape(-1, count)[0], atol=1e-4)
    assert (target[ORIENTATIONS.index(3)] < target[0] - 0.1).any(), "the detector knows no cars on their roofs"
    np.testing.assert_array_equal(result.measured.objects["object_size"], upright.measured.objects["object_size"])


def test_the_pitch_is_told_with_the_focal_length_of_exif(tmp_path: Path) -> None:
    # Twelve posts that lean to the middle at the top, as seen by a camera that looks up.
    photo = np.full((240, 320, 3), 90, dtype=np.uint8)
    for x in range(20, 320, 25):
        cv2.line(photo, (x, 239), (round(160 + 0.7 * (x - 160)), 0), (230, 230, 230), 6, cv2.LINE_AA)
    told = Image.Exif()
    told[0x0112] = 1
    told.get_ifd(0x8769).update({0xA405: 100})
    Image.fromarray(photo).save(tmp_path / "told.png", exif=told)
    Image.fromarray(photo).save(tmp_path / "bare.png")
    (result,) = batch.process(
        tmp_path,
        ["told.png", "bare.png"],
        label=lambda ids, read: [Labelled(np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.bool_))] * len(ids),
        detector=None,
        detect_ids=set(),
        match_iou=0.5,
        workers=1,
    )
    # The posts meet 680 px above the middle; 100 mm on film are 100 / 43.27 of the diagonal of 400 px.
    focal = np.array([400 * 100 / 43.27, DEFAULT_FOCAL * 320])
    np.testing.assert_allclose(result.measured.images["pitch"], np.degrees(np.arctan(focal / 680)), atol=1.0)


def test_a_box_that_repeats_another_crowds_and_hides_nothing(photos: tuple[Path, Pixels, Boxes]) -> None:
    folder, *_ = photos
    boxes = np.array([[20.0, 20, 60, 60], [20, 20, 60, 61.5], [100, 20, 140, 60]])

    def crowding(repeats: Sequence[bool]) -> tuple[list[float], list[float]]:
        labelled = Labelled(boxes, np.zeros(3, dtype=np.int64), np.array(repeats))
        (result,) = batch.process(
            folder,
            ["1.png"],
            label=lambda ids, read: [labelled],
            detector=None,
            detect_ids=set(),
            match_iou=0.5,
            workers=1,
        )
        return result.measured.objects["crowding"].tolist(), result.measured.objects["occlusion"].tolist()

    crowded, hidden = crowding([False, True, False])
    np.testing.assert_array_equal((crowded, hidden), [[0, np.nan, 0]] * 2)
    assert crowding([False, False, False])[0][0] == 1.0


def test_what_is_measured_does_not_depend_on_the_workers(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    names = [f"{index:02d}.png" for index in range(batch.BATCH_SIZE + 3)]
    for index, name in enumerate(names):
        pixels = generator.integers(0, 256, (60 + index, 90, 3), dtype=np.uint8)
        Image.fromarray(cv2.resize(pixels, (180, 120 + index))).save(tmp_path / name)
    (tmp_path / "05.png").write_bytes(b"no photo")

    def label(ids: Sequence[str], read: Sequence[Photo]) -> list[Labelled]:
        counts = [int(name[:2]) % 3 for name in ids]
        boxes = [np.array([[5.0, 5, 90, 90], [40, 30, 160, 110]])[:count] for count in counts]
        return [Labelled(item, np.zeros(len(item), np.int64), np.zeros(len(item), bool)) for item in boxes]

    found = []
    for workers in (1, 3, 40):
        options = {"label": label, "detector": None, "detect_ids": set(), "match_iou": 0.5, "workers": workers}
        parts = [*batch.process(tmp_path, names, **options)]
        assert [name for part in parts for name in part.image_ids] == [name for name in names if name != "05.png"]
        columns = [part.measured.images | part.measured.objects for part in parts]
        found.append({name: np.concatenate([item[name] for item in columns]) for name in columns[0]})
    assert len(found[0]["object_size"]) == sum(int(name[:2]) % 3 for name in names if name != "05.png")
    for other in found[1:]:
        for name, values in other.items():
            np.testing.assert_array_equal(values, found[0][name])


def test_a_batch_without_a_photo_is_empty(tmp_path: Path) -> None:
    options = {"label": lambda ids, read: [], "detector": None, "detect_ids": set(), "match_iou": 0.5, "workers": 2}
    (part,) = batch.process(tmp_path, ["absent.png"], **options)
    assert part.image_ids == ()
    assert [error.code for _, error in part.failures] == ["photo_missing"]
    assert all(len(values) == 0 for values in (part.measured.images | part.measured.objects).values())
