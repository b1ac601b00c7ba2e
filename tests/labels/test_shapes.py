import numpy as np
import polars as pl
import pytest
from scipy import stats
from torchvision.ops import box_iou

from xai.labels import shapes


def boxes(count: int, seed: int = 0) -> np.ndarray:
    """Boxes of about 40 × 20 px anywhere in the middle of a photo of 640 × 480."""
    random = np.random.default_rng(seed)
    corner = random.uniform([100, 100], [400, 300], (count, 2))
    return np.concatenate([corner, corner + [40, 20] * random.lognormal(0, 0.1, (count, 2))], axis=1)


def table(values: np.ndarray, label: str = "car") -> pl.DataFrame:
    frame = pl.DataFrame(values, schema=list(shapes.CORNERS), orient="row")
    return frame.with_columns(label=pl.lit(label), width=pl.lit(640), height=pl.lit(480))


SIZES = np.array([[640.0, 480.0]])


def test_usual_is_median_and_median_absolute_deviation() -> None:
    values = boxes(50)
    told = shapes.usual(table(values)).row(0, named=True)
    aspect = np.log10((values[:, 2] - values[:, 0]) / (values[:, 3] - values[:, 1]))
    assert told["aspect_median"] == pytest.approx(np.median(aspect))
    middle = (values[:, 0] + values[:, 2]) / 2 / 640
    deviation = stats.median_abs_deviation(middle) * 1.4826
    assert told["middle_x_deviation"] == pytest.approx(max(deviation, 0.1))
    assert shapes.usual(table(boxes(19))).is_empty()


def test_a_box_with_a_misplaced_dot_is_strange_and_the_others_are_not() -> None:
    values = boxes(60)
    usual = shapes.usual(table(values))
    odd = values[:1].copy()
    odd[0, 3] = odd[0, 1] + (odd[0, 3] - odd[0, 1]) / 10
    classes = pl.concat([usual] * 61)
    off, measure = shapes.strangeness(np.concatenate([values, odd]), np.repeat(SIZES, 61, axis=0), classes)
    assert off[:-1].max() < 4
    assert off[-1] > 6
    assert measure[-1] == "aspect"


def test_nothing_is_strange_of_an_unknown_class_and_boxes_without_area_are() -> None:
    unknown = shapes.usual(table(boxes(30))).clear()
    classes = pl.DataFrame({"label": ["x", "x"]}).join(unknown, on="label", how="left")
    off, _ = shapes.strangeness(np.array([[0.0, 0, 9, 1], [5, 5, 5, 9]]), np.repeat(SIZES, 2, axis=0), classes)
    assert off.tolist() == [0, np.inf]


def test_slips_undo_each_other() -> None:
    values = boxes(3)
    names, meant = shapes.slips(values)
    assert meant.shape == (3, len(names), 4)
    written = values.copy()
    written[:, 2] /= 10
    assert np.isclose(shapes.slips(written)[1], values[:, None]).all(axis=2).any(axis=1).all()
    swapped = values[:, [1, 0, 3, 2]]
    place = names.index("swapped_axes")
    np.testing.assert_array_equal(shapes.slips(swapped)[1][:, place], values)
    sized = np.concatenate([values[:, :2], values[:, 2:] - values[:, :2]], axis=1)
    np.testing.assert_allclose(shapes.slips(sized)[1][:, names.index("size_as_corner")], values)


def test_iou_is_that_of_torchvision() -> None:
    import torch

    left, right = boxes(40, 1), boxes(40, 2)
    expected = box_iou(torch.from_numpy(left), torch.from_numpy(right)).diagonal().numpy()
    np.testing.assert_allclose(shapes.iou(left, right), expected)
    assert shapes.iou(np.array([[3.0, 0, 1, 2]]), np.array([[0.0, 0, 4, 4]]))[0] == 0
