import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xai.evidence import geometric
from xai.types import Boxes, Pixels


def marked(box: tuple[int, int, int, int], size: tuple[int, int] = (120, 90)) -> Pixels:
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    x1, y1, x2, y2 = box
    pixels[y1:y2, x1:x2] = 255
    return pixels


def extent(pixels: Pixels) -> Boxes:
    """Box of the white pixels."""
    y, x = np.nonzero(pixels.min(2) > 127)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], dtype=np.float64)


BOX = (30, 20, 62, 36)


@pytest.mark.parametrize(
    ("change", "tolerance"),
    [
        (lambda p, b: geometric.turn(p, b, 90), 0),
        (lambda p, b: geometric.turn(p, b, 180), 0),
        (lambda p, b: geometric.turn(p, b, 270), 0),
        (geometric.flip, 0),
        (lambda p, b: geometric.shift(p, b, 9), 0),
        (lambda p, b: geometric.resample(p, b, 0.98), 1),
        (lambda p, b: geometric.shrink(p, b, 0.5), 1),
        (lambda p, b: geometric.zoom(p, b, context=2.0), 1),
        (lambda p, b: geometric.zoom(p, b, context=1.0), 1),
    ],
)
def test_the_box_follows_the_pixels(change, tolerance: float) -> None:
    pixels = marked(BOX)
    done = change(pixels, np.array(BOX, dtype=np.float64))
    assert np.abs(extent(done.pixels) - done.box).max() <= tolerance
    np.testing.assert_allclose(geometric.move(np.array([BOX], dtype=np.float64), done.matrix)[0], done.box)
    assert (extent(pixels) == BOX).all(), "the photo that came in is left alone"


def test_a_turn_is_clockwise() -> None:
    turned = geometric.turn(marked((0, 0, 10, 5)), np.array([0.0, 0, 10, 5]), 90)
    assert turned.pixels.shape == (120, 90, 3)
    assert turned.box.tolist() == [85, 0, 90, 10]


def test_rotation_is_clockwise_about_the_middle() -> None:
    pixels = marked((55, 10, 65, 80))
    box = np.array([55.0, 10, 65, 80])
    rotated = geometric.rotate(pixels, box, 90)
    assert np.abs(extent(rotated.pixels) - [25, 40, 95, 50]).max() <= 1
    corner = geometric.move(np.array([[60.0, 20, 60, 20]]), geometric.rotate(pixels, box, 10).matrix)[0]
    assert corner[0] > 60, "what was above the middle moves right when turned clockwise"


@pytest.mark.parametrize("degrees", [-40, -15, 15, 40])
def test_rotation_keeps_an_object_at_the_edge_on_the_canvas(degrees: float) -> None:
    for corner in ((0, 0), (100, 0), (0, 70), (100, 70)):
        place = (*corner, corner[0] + 20, corner[1] + 20)
        rotated = geometric.rotate(marked(place), np.array(place, dtype=np.float64), degrees)
        assert (rotated.box[:2] >= -1e-9).all()
        assert (rotated.box[2:] <= [120 + 1e-9, 90 + 1e-9]).all()
        middle = (rotated.box[:2] + rotated.box[2:]).astype(int) // 2
        assert rotated.pixels[middle[1], middle[0]].min() > 127


@settings(deadline=None)
@given(
    width=st.floats(20, 100),
    height=st.floats(20, 100),
    degrees=st.floats(-30, 30),
    ellipse=st.booleans(),
)
def test_levelling_finds_the_upright_size(width: float, height: float, degrees: float, ellipse: bool) -> None:
    """Tilt a known object, box it, level it: the box must still find the object (IoU 0.5) up to 3:1 and 30 degrees."""
    if max(width, height) > 3 * min(width, height):
        return
    cos, sin = np.cos(np.radians(degrees)), abs(np.sin(np.radians(degrees)))
    sides = [(width, height), (height, width)]
    tilted = [np.hypot(a * cos, b * sin) if ellipse else a * cos + b * sin for a, b in sides]
    box = np.array([200 - tilted[0] / 2, 200 - tilted[1] / 2, 200 + tilted[0] / 2, 200 + tilted[1] / 2])
    got = geometric.rotate(np.zeros((400, 400, 3), np.uint8), box, degrees).box
    size = got[2:] - got[:2]
    common = min(size[0], width) * min(size[1], height)
    assert common / (size[0] * size[1] + width * height - common) >= 0.5


def test_zoom_keeps_the_surroundings_inside_the_photo() -> None:
    corner = np.array([0.0, 0, 8, 6])
    zoomed = geometric.zoom(marked((0, 0, 8, 6)), corner, context=3.5)
    assert zoomed is not None
    assert max(zoomed.pixels.shape) == 120
    assert zoomed.box[:2].tolist() == [0, 0]
    assert geometric.zoom(marked(BOX), np.array([0.0, 0, 110, 80]), context=3.5) is None
    one = geometric.zoom(np.zeros((1, 1, 3), np.uint8), np.array([0.0, 0, 1, 1]), context=3.5)
    assert one is None


def test_zoom_is_limited() -> None:
    zoomed = geometric.zoom(marked(BOX, (1200, 900)), np.array([600.0, 400, 604, 403]), context=3.5, limit=8)
    assert zoomed is not None
    assert zoomed.matrix[0, 0] == pytest.approx(8)


def test_extend_only_beyond_edges_that_cut() -> None:
    pixels = marked((0, 20, 40, 60))
    done = geometric.extend(pixels, np.array([0.0, 20, 40, 60]), touching=0.015, share=0.5)
    assert done is not None
    assert done.pixels.shape == (90, 140, 3)
    assert done.box.tolist() == [20, 20, 60, 60]
    assert (done.pixels[:, 20:] == pixels).all()
    assert geometric.extend(pixels, np.array(BOX, dtype=np.float64), touching=0.015, share=0.5) is None
    whole = geometric.extend(pixels, np.array([0.0, 0, 120, 90]), touching=0.015, share=0.5)
    assert whole is not None
    assert whole.pixels.shape == (180, 240, 3)


def test_move_of_no_boxes() -> None:
    assert geometric.move(np.empty((0, 4)), geometric.identity()).shape == (0, 4)
