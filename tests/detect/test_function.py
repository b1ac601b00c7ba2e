import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xai.config import DetectorConfig
from xai.detect.detector import load
from xai.detect.function import Function
from xai.exceptions import DetectorError
from xai.types import Detector

COUNT = 0


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a module into the working directory under a name of its own and return the name."""
    monkeypatch.chdir(tmp_path)
    before = list(sys.path), set(sys.modules)

    def module(code: str) -> str:
        global COUNT
        COUNT += 1
        name = f"own_detector_{COUNT}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code), encoding="utf-8")
        return name

    yield module
    assert sys.path == before[0]
    for name in set(sys.modules) - before[1]:
        if name.startswith("own_detector_"):
            del sys.modules[name]


def open_function(name: str, **options: object) -> Detector:
    options.setdefault("names", ("car", "bus"))
    found = load(DetectorConfig(kind=f"python:{name}", **options), "cpu")
    assert not hasattr(found, "by_image")
    return found


def detections(detector: Detector, *photos: np.ndarray) -> list[Any]:
    found: dict[int, Any] = {}
    for prepared in detector.prepare(photos):
        results = detector.select(detector.forward(prepared.inputs), prepared)
        found.update(zip(prepared.indices, results, strict=True))
    return [found[index] for index in range(len(photos))]


PHOTO = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def test_photos_arrive_unchanged_and_results_come_back(write: Any) -> None:
    name = write(
        """
        seen = []
        def detect(photos):
            seen.extend(photos)
            boxes = [[1, 2, 3, 4], [0, 0, 6, 4], [0, 0, 1, 1]]
            return [(boxes, [0.5, 0.9, 0.1], ["bus", "car", "bus"]) for _ in photos]
        """
    )
    detector = open_function(f"{name}.detect", score_threshold=0.3)
    assert not detector.sees_candidates
    assert not detector.differentiable
    wide = np.full((3, 9, 3), 255, dtype=np.uint8)
    photos = [PHOTO, wide, 255 - PHOTO]
    results = detections(detector, *photos)
    seen = sys.modules[name].seen
    assert all(photo.dtype == np.uint8 and photo.flags["C_CONTIGUOUS"] for photo in seen)
    for photo, came in zip([PHOTO, 255 - PHOTO, wide], seen, strict=True):  # grouped by size
        np.testing.assert_array_equal(photo, came)
    for found in results:
        np.testing.assert_allclose(found.scores, [0.9, 0.5])
        assert found.labels.tolist() == [0, 1]
        assert found.boxes.tolist() == [[0, 0, 6, 4], [1, 2, 3, 4]]
    with torch.no_grad():
        candidates = detector.forward(detector.prepare([PHOTO])[0].inputs)
    np.testing.assert_allclose(candidates.scores[0], [[0, 0.5], [0.9, 0], [0, 0.1]])


def test_photos_with_different_counts_are_padded(write: Any) -> None:
    name = write(
        """
        import torch
        def detect(photos):
            boxes = torch.tensor([[0.0, 0, 5, 5], [1, 1, 4, 4]], requires_grad=True)
            return [([], [], []), (boxes, torch.tensor([0.4, 0.6]), torch.tensor([1, 1]))]
        """
    )
    none, two = detections(open_function(f"{name}.detect", score_threshold=0.0), PHOTO, PHOTO)
    assert none.boxes.shape == (0, 4)
    np.testing.assert_allclose(two.scores, [0.6, 0.4])


def test_nothing_found_anywhere_and_the_limit(write: Any) -> None:
    name = write("def detect(photos): return [((), (), ())] * len(photos)")
    (found,) = detections(open_function(f"{name}.detect"), PHOTO)
    assert len(found) == 0
    name = write("def detect(photos): return [([[0, 0, 1, 1]] * 5, [0.5, 0.9, 0.6, 0.9, 0.3], [0, 1, 0, 0, 0])]")
    (found,) = detections(open_function(f"{name}.detect", max_detections=3), PHOTO)
    assert found.labels.tolist() == [1, 0, 0]
    np.testing.assert_allclose(found.scores, [0.9, 0.9, 0.6])


def test_scores_at_the_threshold_are_detections(write: Any) -> None:
    name = write("def detect(photos): return [([[0, 0, 1, 1]] * 3, [0.7, 0.69, 0.0], [0, 0, 0])]")
    assert len(detections(open_function(f"{name}.detect", score_threshold=0.7), PHOTO)[0]) == 1
    assert len(detections(open_function(f"{name}.detect", score_threshold=0.0), PHOTO)[0]) == 2


@pytest.mark.parametrize("names", ["('car', 'bus')", "{1: 'bus', 0: 'car'}"])
def test_names_of_the_callable_and_a_factory(names: str, write: Any) -> None:
    name = write(
        f"""
        class Net:
            names = {names}
            def __init__(self, weights="a.pt"):
                self.weights = weights
            def __call__(self, photos):
                return [([[0, 0, 1, 1]], [0.5], [1.0])] * len(photos)
        def make():
            return Net()
        made = Net()
        """
    )
    for attribute in ("Net", "make", "made"):
        detector = open_function(f"{name}.{attribute}", names=None)
        assert detector.names == ("car", "bus")
        assert detections(detector, PHOTO)[0].labels.tolist() == [1]
        assert detector.card.kind == f"python:{name}.{attribute}"
        assert Path(str(detector.card.file)).name == f"{name}.py"
        assert len(str(detector.card.sha256)) == 64


def test_what_keeps_the_protocol_is_used_as_it_is(write: Any) -> None:
    name = write(
        """
        from xai.detect.function import Function
        from xai.types import ModelCard
        class Mine(Function):
            pass
        def make():
            return Mine(("car",), ModelCard("mine"), 0.4, 300, lambda photos: [])
        made = make()
        class Half:
            names = ("car",)
            def prepare(self, photos): ...
            def forward(self, inputs): ...
            def select(self, candidates, prepared): ...
        """
    )
    assert open_function(f"{name}.made") is sys.modules[name].made
    assert open_function(f"{name}.make").card.kind == "mine"
    with pytest.raises(DetectorError, match=r"score_threshold: python:.*made has a threshold of its own, 0.4; got 0.3"):
        open_function(f"{name}.made", score_threshold=0.3)
    with pytest.raises(DetectorError, match=r"it lacks card, score_threshold, sees_candidates, differentiable"):
        open_function(f"{name}.Half")


def test_installed_functions_without_a_source_file() -> None:
    detector = open_function("builtins.len")
    assert isinstance(detector, Function)
    assert detector.card.file is None
    with pytest.raises(DetectorError, match=r"expected a list of 1 results.*got int"):
        detections(detector, PHOTO)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("nothing.at_all", r"found no module nothing; run in the folder that holds it"),
        ("xai.nothing.at_all", r"found no module xai.nothing"),
        ("{name}.other", r"own_detector_\d+ \(.*own_detector_\d+.py\) has no 'other'"),
        ("{name}.number", r"expected a function of a list of photos.*got int"),
        ("{name}.two", r"expected a function of a list of photos.*got function"),
    ],
)
def test_wrong_names_are_told(attribute: str, message: str, write: Any) -> None:
    name = write("number = 3\ndef two(photos, more): ...")
    with pytest.raises(DetectorError, match=message):
        open_function(attribute.format(name=name))


@pytest.mark.parametrize("code", ["import not_installed_anywhere", "1 / 0", "def broken(:"])
def test_modules_that_fail_to_import_say_why(code: str, write: Any) -> None:
    name = write(code)
    with pytest.raises(DetectorError, match=f"{name} could not be imported: .*(not_installed|division|syntax)"):
        open_function(f"{name}.detect")


def test_no_class_names(write: Any) -> None:
    name = write("def detect(photos): return []")
    with pytest.raises(DetectorError, match=r"detector.names: expected the class names of python:"):
        open_function(f"{name}.detect", names=None)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("[]", r"expected a list of 2 results, .* got list of 0"),
        ("None", r"got NoneType"),
        ("[GOOD, ([], [])]", r"photo 2 of 2 in the call: expected \(boxes, scores, labels\), got tuple of 2"),
        ("[GOOD, None]", r"photo 2 of 2 .* got NoneType"),
        ("[([1, 2, 3, 4], [0.5], [0]), GOOD]", r"photo 1 of 2 .*expected boxes \(n, 4\).*got \(4,\), \(1,\), \(1,\)"),
        ("[([[1, 2, 3, 4]], [0.5, 0.6], [0]), GOOD]", r"got \(1, 4\), \(2,\), \(1,\)"),
        ("[([[1, 2, 3, 4]], 0.5, [0]), GOOD]", r"got \(1, 4\), \(\), \(1,\)"),
        ("[([[1, 2, 3, 4], [1]], [0.5], [0]), GOOD]", r"expected arrays, got list of 2"),
        ("[([['a', 2, 3, 4]], [0.5], [0]), GOOD]", r"boxes and scores to be numbers"),
        ("[([[50, 20, 10, 40]], [0.5], [0]), GOOD]", r"got \[50.0, 20.0, 10.0, 40.0\]; boxes of x, y, width"),
        ("[([[1, 2, float('nan'), 4]], [0.5], [0]), GOOD]", r"expected boxes x1 y1 x2 y2"),
        ("[([[1, 2, 3, 4]], [87], [0]), GOOD]", r"expected scores in 0–1, got 87"),
        ("[([[1, 2, 3, 4]], [float('nan')], [0]), GOOD]", r"expected scores in 0–1, got nan"),
        ("[([[1, 2, 3, 4]], [0.5], ['cat']), GOOD]", r"expected labels among car, bus or 0–1, got 'cat'"),
        ("[([[1, 2, 3, 4]], [0.5], [2]), GOOD]", r"expected labels among car, bus or 0–1, got 2"),
        ("[([[1, 2, 3, 4]], [0.5], [0.5]), GOOD]", r"got 0.5"),
    ],
)
def test_wrong_results_say_what_came_for_which_photo(result: str, message: str, write: Any) -> None:
    name = write(f"GOOD = ([[1, 2, 3, 4]], [0.5], [0])\ndef detect(photos): return {result}")
    with pytest.raises(DetectorError, match=message):
        detections(open_function(f"{name}.detect"), PHOTO, PHOTO)


def test_errors_of_the_function_are_told_with_their_place_and_cause(write: Any) -> None:
    name = write("def detect(photos): return photos.shape")
    with pytest.raises(DetectorError, match=rf"AttributeError.*shape.*{name}\.py, line 1\)") as caught:
        detections(open_function(f"{name}.detect"), PHOTO)
    assert isinstance(caught.value.__cause__, AttributeError)


def test_a_function_whose_arguments_have_defaults_takes_photos(write: Any) -> None:
    name = write("def detect(photos=(), size=640): return [([[0, 0, 1, 1]], [0.5], [0])] * len(photos)")
    assert len(detections(open_function(f"{name}.detect"), PHOTO)[0]) == 1


def test_a_maker_may_import_from_its_folder_and_fail_in_words(write: Any, tmp_path: Path) -> None:
    (tmp_path / "own_detector_helper.py").write_text("SCORE = 0.5", encoding="utf-8")
    name = write(
        """
        def make():
            import own_detector_helper
            return lambda photos: [([[0, 0, 5, 5]], [own_detector_helper.SCORE], ["car"]) for _ in photos]

        def fail():
            raise FileNotFoundError("weights.bin is gone")
        """
    )
    detector = open_function(f"{name}.make")
    assert detector.forward(torch.zeros(1, 3, 8, 8)).scores.max() == 0.5
    with pytest.raises(DetectorError, match=r"the detector could not be made: .*weights.bin is gone"):
        open_function(f"{name}.fail")


def test_labels_that_cannot_be_looked_up_are_refused(write: Any) -> None:
    name = write(
        """
        import numpy as np

        def detect(photos):
            labels = np.empty(1, dtype=object)
            labels[0] = ["car"]
            return [([[0, 0, 5, 5]], [0.5], labels) for _ in photos]
        """
    )
    with pytest.raises(DetectorError, match="expected labels among car, bus"):
        open_function(f"{name}.detect").forward(torch.zeros(1, 3, 8, 8))
