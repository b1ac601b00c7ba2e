"""Glare on planted suns, on bright things that are no glare, and on real photos with hand-drawn masks."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.stats import rankdata

from attributes.decode import read
from attributes.glare import _convergence, glare, glare_map
from attributes.reduced import fit
from attributes.views import Views

DATA = Path(__file__).resolve().parents[2] / "../shared/data"


def street(height: int = 360, width: int = 480, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    blocks = generator.integers(20, 130, (9, 12, 3)).astype(np.float32)
    photo = cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST)
    return (photo + generator.normal(0, 4, photo.shape)).clip(0, 255).astype(np.uint8)


def with_sun(photo: np.ndarray, strength: float, x: float = 0.5, y: float = 0.4, radius: float = 0.05) -> np.ndarray:
    height, width = photo.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(columns - x * width, rows - y * height) / width
    light = 400 * np.exp(-((distance / radius) ** 2)) + 200 * np.exp(-distance / 0.15)
    return (photo + strength * light[..., None]).clip(0, 255).astype(np.uint8)


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)].sum()
    return float((ranks - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


def test_rises_with_the_strength_of_a_sun() -> None:
    values = glare(Views([with_sun(street(), strength) for strength in (0.0, 0.4, 0.7, 1.0)]))
    assert np.all(np.diff(values) > 0)
    assert values[0] < 0.1
    assert values[-1] > 0.5


@pytest.mark.parametrize(("x", "y"), [(0.5, 0.4), (0.2, 0.25), (0.8, 0.7), (0.5, 0.02), (0.98, 0.5)])
def test_map_is_highest_at_the_sun(x: float, y: float) -> None:
    photo = with_sun(street(), 1.0, x, y)
    values = glare_map(photo)
    assert values.shape == photo.shape[:2]
    assert values.dtype == np.float32
    row, column = np.unravel_index(values.argmax(), values.shape)
    assert np.hypot(column / 480 - x, (row - y * 360) / 480) < 0.08
    assert 0 <= values.min() <= values.max() <= 1
    assert values.max() == pytest.approx(glare(Views([photo]))[0], abs=0.02)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_does_not_depend_on_the_way_up(turn: int) -> None:
    photo = with_sun(street(), 0.7, 0.3, 0.3)
    upright, turned = glare(Views([photo, np.ascontiguousarray(np.rot90(photo, turn))]))
    assert turned == pytest.approx(upright, abs=0.05)


def test_does_not_depend_on_resolution() -> None:
    photo = with_sun(street(720, 960), 0.7, 0.6, 0.3)
    assert np.ptp(glare(Views([photo, fit(photo, 480), fit(photo, 240)]))) < 0.1


def bright_things() -> dict[str, np.ndarray]:
    white = np.full((360, 480, 3), 250, dtype=np.uint8)
    car = street()
    car[150:250, 120:330] = 245
    car[165:195, 160:290] = 30
    snow = street()
    snow[140:] = 240
    snow[200:330, 200:260] = 60
    overcast = street()
    clouds = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 1, (180, 480)).astype(np.float32), (0, 0), 25)
    overcast[:180] = (238 + 250 * clouds).clip(0, 255).astype(np.uint8)[..., None]
    return {"white": white, "car": car, "snow": snow, "overcast": overcast, "black": np.zeros_like(white)}


@pytest.mark.parametrize("name", ["white", "car", "snow", "overcast", "black"])
def test_bright_things_without_a_halo_are_no_strong_glare(name: str) -> None:
    assert glare(Views([bright_things()[name]]))[0] < 0.5


def test_shapes_at_the_limits() -> None:
    thin = np.zeros((30, 4000, 3), dtype=np.uint8)
    tiny = np.zeros((1, 1, 3), dtype=np.uint8)
    values = glare(Views([thin, tiny, np.zeros((24, 24, 3), dtype=np.uint8)]))
    assert np.isnan(values[1])
    assert values[2] == 0
    assert np.isnan(glare_map(tiny)).all()
    assert glare(Views([])).shape == (0,)


@pytest.mark.parametrize(("shape", "radius"), [((48, 64), 9.6), ((31, 47), 21.2), ((7, 64), 28.8), ((5, 3), 2.0)])
def test_convergence_is_the_mean_cosine_over_the_disc(shape: tuple[int, int], radius: float) -> None:
    directions = np.random.default_rng(0).uniform(-0.7, 0.7, (*shape, 2)).astype(np.float32)
    expected = np.full(shape, np.nan)
    steps = range(-30, 31)
    disc = {
        (dy, dx): 1 / np.hypot(dy, dx) for dy in steps for dx in steps if 0.15 * radius < np.hypot(dy, dx) <= radius
    }
    for row, column in ((0, 0), (shape[0] // 2, shape[1] // 2), (shape[0] - 1, 1)):
        inside = {
            (dy, dx): weight
            for (dy, dx), weight in disc.items()
            if 0 <= row + dy < shape[0] and 0 <= column + dx < shape[1]
        }
        total = sum(
            -weight * (directions[row + dy, column + dx] @ [dx, dy]) / np.hypot(dx, dy)
            for (dy, dx), weight in inside.items()
        )
        whole, known = sum(disc.values()), sum(inside.values())
        expected[row, column] = total / whole / np.sqrt(known / whole)
    found = _convergence(directions[None], radius)[0]
    told = ~np.isnan(expected)
    np.testing.assert_allclose(found[told], expected[told], atol=1e-5)


def comparable(path: Path) -> np.ndarray:
    """Scale to 640 px and encode anew, so that neither size nor compression tells the sources apart."""
    photo = read(path).pixels
    scale = 640 / max(photo.shape)
    size = (round(photo.shape[1] * scale), round(photo.shape[0] * scale))
    photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    encoded = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])


@pytest.mark.skipif(not (DATA / "glare").is_dir(), reason="real photos are kept outside the repository")
def test_real_glare_stands_out_from_everyday_photos() -> None:
    with_glare = [comparable(path) for path in sorted((DATA / "glare/images").glob("*.jpg"))[::2]]
    everyday = [comparable(path) for path in sorted((DATA / "voc/eval/JPEGImages").glob("*.jpg"))[::2]]
    positive, negative = glare(Views(with_glare)), glare(Views(everyday))
    assert auc(positive, negative) > 0.94
    assert np.mean(negative >= 0.5) <= 0.05
    assert np.mean(positive >= 0.5) > 0.8


@pytest.mark.skipif(not (DATA / "glare").is_dir(), reason="real photos are kept outside the repository")
def test_map_follows_hand_drawn_masks() -> None:
    areas = []
    for path in sorted((DATA / "glare/images").glob("*.jpg"))[::4]:
        values = glare_map(read(path).pixels)
        mask = cv2.imread(str(DATA / f"glare/masks/{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
        mask = cv2.resize(mask, values.shape[::-1], interpolation=cv2.INTER_NEAREST)[::4, ::4] > 127
        areas.append(auc(values[::4, ::4][mask], values[::4, ::4][~mask]))
    assert np.mean(areas) > 0.85
