"""JPEG quality against encoders that were told the quality."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from attributes import compression
from attributes.arrays import UNTHREADED
from attributes.compression import jpeg_quality
from attributes.decode import read
from attributes.views import Views

VOC = Path(__file__).resolve().parents[2] / "../shared/data/voc/eval/JPEGImages"
needs_voc = pytest.mark.skipif(not VOC.is_dir(), reason="real photos are kept outside the repository")


def compressed(photo: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def clouds(seed: int = 0, height: int = 240, width: int = 320) -> np.ndarray:
    """Texture of all scales, never compressed."""
    generator = np.random.default_rng(seed)
    octaves = [
        cv2.resize(generator.normal(0, 4 * step**0.5, (height // step, width // step, 3)), (width, height))
        for step in (1, 2, 4, 8, 16)
    ]
    return (128 + np.sum(octaves, axis=0)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    """Real photos reduced, which wipes out the steps of their own files."""
    found = [read(path).pixels for path in sorted(VOC.glob("*.jpg"))[:16]]
    return [cv2.resize(photo, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA) for photo in found]


def test_coefficients_are_those_of_opencv() -> None:
    luma = np.random.default_rng(0).normal(0, 50, (16, 24)).astype(np.float32)
    blocks = [cv2.dct(luma[y : y + 8, x : x + 8].copy()) for y in (0, 8) for x in (0, 8, 16)]
    expected = [[block[v, h] for block in blocks] for v, h in ((0, 1), (1, 0), (2, 0), (1, 1), (0, 2))]
    np.testing.assert_allclose(compression._coefficients(luma[None])[0, :5], expected, atol=1e-3)


def test_steps_at_50_are_those_of_an_encoder() -> None:
    file = io.BytesIO()
    Image.fromarray(clouds()).save(file, "JPEG", quality=50)
    table = np.array(Image.open(file).quantization[0]).reshape(8, 8)
    np.testing.assert_array_equal(table[compression.VERTICAL, compression.HORIZONTAL], compression._STEPS_AT_50)


@pytest.mark.parametrize("quality", [15, 20, 40, 60, 75, 85, 90])
def test_quality_of_clouds(quality: int) -> None:
    assert jpeg_quality(Views([compressed(clouds(), quality)]))[0] == pytest.approx(quality, abs=1)


@needs_voc
@pytest.mark.parametrize("quality", [10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90])
def test_quality_of_real_photos(photos: list[np.ndarray], quality: int) -> None:
    values = jpeg_quality(Views([compressed(photo, quality) for photo in photos]))
    assert np.abs(values - quality).max() <= 1  # neighbouring qualities may share their steps


@needs_voc
def test_uncompressed_and_hardly_compressed_photos_cannot_be_told(photos: list[np.ndarray]) -> None:
    larger = [cv2.resize(compressed(photo, 50), None, fx=1.5, fy=1.5) for photo in photos]
    fine = [compressed(photo, 96) for photo in photos]
    assert np.isnan(jpeg_quality(Views([*photos, *larger, *fine]))).all()


@needs_voc
def test_the_stronger_of_two_compressions_counts(photos: list[np.ndarray]) -> None:
    twice = [compressed(compressed(photo, first), second) for first, second in ((25, 95), (60, 30)) for photo in photos]
    expected = np.repeat([25, 30], len(photos))
    assert np.median(np.abs(jpeg_quality(Views(twice)) - expected)) <= 1
    assert np.mean(np.abs(jpeg_quality(Views(twice)) - expected) <= 1) >= 0.95


@needs_voc
def test_crops_and_turns_are_followed(photos: list[np.ndarray]) -> None:
    cut = [compressed(photo, 50)[3:, 5:] for photo in photos]
    turned = [
        np.ascontiguousarray(np.rot90(compressed(photo[:-1, :-1], 50), 1 + index % 3))
        for index, photo in enumerate(photos)
    ]
    values = jpeg_quality(Views([*cut, *turned]))
    assert np.isfinite(values).mean() >= 0.9
    assert np.nanmax(np.abs(values - 50)) <= 2  # the table is not symmetric, so that a turn misleads a little


@needs_voc
def test_other_tables_than_the_standard_give_a_like_quality(photos: list[np.ndarray]) -> None:
    generator = np.random.default_rng(0)
    values = []
    for photo in photos:
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "JPEG", quality=60)
        table = np.array(Image.open(file).quantization[0])
        own = np.rint(table * np.exp(generator.normal(0, 0.15, 64))).clip(1, 255).astype(int).tolist()
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "JPEG", qtables=[own, own])
        values.append(jpeg_quality(Views([np.asarray(Image.open(file))]))[0])
    assert np.median(np.abs(np.array(values) - 60)) <= 4


def test_grey_photos() -> None:
    grey = np.repeat(clouds()[..., :1], 3, axis=2)
    assert jpeg_quality(Views([grey, compressed(grey, 60)])) == pytest.approx([np.nan, 60], abs=1, nan_ok=True)


def test_patterns_flat_and_tiny_photos_cannot_be_told() -> None:
    y, x = np.indices((256, 256))
    boards = [((y // side + x // side) % 2 * 200).astype(np.uint8) for side in (1, 2, 8, 13)]
    drawn = [np.repeat(board[..., None], 3, axis=2) for board in boards]
    flat = [np.full((200, 300, 3), tone, dtype=np.uint8) for tone in (0, 77, 255)]
    tiny = [np.zeros((1, 1, 3), dtype=np.uint8), clouds()[:7], clouds()[:, :20], clouds()[:40, :40]]
    assert np.isnan(jpeg_quality(Views([*drawn, *flat, *tiny]))).all()
    assert jpeg_quality(Views([])).shape == (0,)


@pytest.mark.parametrize("shape", ["boxes", "frames", "blocks"])
def test_drawings_that_were_never_compressed_cannot_be_told(shape: str) -> None:
    pictures = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        picture = np.full((*generator.integers(100, 500, 2), 3), generator.integers(0, 256, 3), dtype=np.uint8)
        for _ in range(int(generator.integers(5, 50))):
            x, y, width, height = (int(value) for value in generator.integers(0, 400, 4))
            if shape == "blocks":
                x, y, width, height = (value // 4 * 4 for value in (x, y, width, height))
            corners, tone = ((x, y), (x + width // 3, y + height // 3)), generator.integers(0, 256, 3).tolist()
            cv2.rectangle(picture, *corners, tone, 3 if shape == "frames" else -1)
        pictures.append(picture)
    assert np.isnan(jpeg_quality(Views(pictures))).all()


@needs_voc
def test_the_coarsest_quality_is_the_lowest_that_is_told(photos: list[np.ndarray]) -> None:
    values = jpeg_quality(Views([compressed(photo, 5) for photo in photos]))
    assert np.nanmax(values) <= 12


def test_a_huge_photo_is_told_by_its_middle() -> None:
    huge = compressed(np.tile(clouds(height=400, width=400), (6, 9, 1)), 45)
    assert jpeg_quality(Views([huge]))[0] == pytest.approx(45, abs=1)


def test_a_photo_does_not_depend_on_its_batch_or_thread() -> None:
    photos = [compressed(clouds(seed), quality) for seed, quality in enumerate((30, 60, 90))]
    alone = [jpeg_quality(Views([photo]))[0] for photo in photos]
    with ThreadPoolExecutor(4) as pool:
        for values in pool.map(lambda _: jpeg_quality(Views(photos)), range(8)):
            np.testing.assert_array_equal(values, alone)


def test_products_are_too_small_for_threads() -> None:
    parts = compression._averaged()
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), np.concatenate(compression.comb_tables()[:3], axis=1))
    assert max(len(compression.VERTICAL) * part.size for part in parts) <= UNTHREADED


@needs_voc
def test_the_strongest_compression_is_told_by_the_edges_of_its_blocks(photos: list[np.ndarray]) -> None:
    strong = [compressed(photo, quality) for photo in photos for quality in (3, 6, 10)]
    told = jpeg_quality(Views([compressed(photo, 95) for photo in strong]))
    assert np.isfinite(told).mean() >= 0.9
    assert np.nanmax(told) < 40
    cut = jpeg_quality(Views([photo[3:, 5:] for photo in strong]))
    assert np.isfinite(cut).mean() >= 0.9
    assert np.nanmax(cut) < 40


def test_mosaics_and_boards_of_any_period_are_drawn() -> None:
    y, x = np.indices((256, 256))
    noise = np.random.default_rng(0).integers(0, 255, (32, 32), dtype=np.uint8)
    drawn = [((y // side + x // side) % 2 * 120 + 60).astype(np.uint8) for side in (4, 8, 16)]
    drawn += [np.kron(noise, np.ones((8, 8), np.uint8))]
    assert np.isnan(jpeg_quality(Views([np.repeat(item[..., None], 3, axis=2) for item in drawn]))).all()
