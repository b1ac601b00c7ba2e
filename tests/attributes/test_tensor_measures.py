"""Measures on tensors against those of arrays."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from attributes import color, compression, exposure, glare, haze, noise, sharpness
from attributes.arrays import Floats
from attributes.decode import read
from attributes.tensors import color as color_on_tensors
from attributes.tensors import compression as compression_on_tensors
from attributes.tensors import exposure as exposure_on_tensors
from attributes.tensors import glare as glare_on_tensors
from attributes.tensors import haze as haze_on_tensors
from attributes.tensors import noise as noise_on_tensors
from attributes.tensors import sharpness as sharpness_on_tensors
from attributes.tensors.views import TensorViews
from attributes.views import Views

VOC = Path(__file__).resolve().parents[2] / "../shared/data/voc/eval/JPEGImages"

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")],
    ),
]

Measure = tuple[Callable[[Views], Floats], Callable[[TensorViews], torch.Tensor]]

BRIGHTNESS: Measure = (exposure.brightness, exposure_on_tensors.brightness)
CONTRAST: Measure = (exposure.contrast, exposure_on_tensors.contrast)
CLIPPED: Measure = (exposure.clipped, exposure_on_tensors.clipped)
COLORFULNESS: Measure = (color.colorfulness, color_on_tensors.colorfulness)
HAZE: Measure = (haze.haze, haze_on_tensors.haze)
GLARE: Measure = (glare.glare, glare_on_tensors.glare)
JPEG_QUALITY: Measure = (compression.jpeg_quality, compression_on_tensors.jpeg_quality)
SHARPNESS: Measure = (sharpness.sharpness, sharpness_on_tensors.sharpness)
NOISE: Measure = (noise.noise, noise_on_tensors.noise)

MEASURES = [BRIGHTNESS, CONTRAST, CLIPPED, COLORFULNESS, HAZE, GLARE, JPEG_QUALITY, SHARPNESS, NOISE]
ALWAYS_TOLD = [BRIGHTNESS, CONTRAST, CLIPPED, COLORFULNESS]
SELDOM_TOLD = [CLIPPED, HAZE, GLARE, JPEG_QUALITY]  # of drawn discs
SHARES = [BRIGHTNESS, CONTRAST]


@cache
def scenes(height: int, width: int) -> np.ndarray:
    """Shapes of every sharpness, noise and contrast."""
    y, x = np.mgrid[:height, :width]
    photos = []
    for seed, (blur, grain, contrast) in enumerate([(0, 0, 90), (1, 3, 60), (2, 8, 25), (4, 1, 100), (0.7, 25, 120)]):
        generator = np.random.default_rng(seed)
        scene = np.full((height, width), 120.0)
        for _ in range(12):
            middle_y, middle_x, radius = generator.uniform(0, 1, 3) * [height, width, 0.3 * max(height, width)]
            scene[(y - middle_y) ** 2 + (x - middle_x) ** 2 < radius**2] = 120 + generator.uniform(-1, 1) * contrast
        soft = cv2.GaussianBlur(scene, (0, 0), blur) if blur else scene
        tint = generator.uniform(-15, 15, 3)
        photos.append(soft[..., None] + tint + generator.normal(0, grain, (height, width, 1)))
    photos += [np.full((height, width, 3), level, dtype=float) for level in (0, 128, 255)]
    return np.stack(photos).round().clip(0, 255).astype(np.uint8)


def compare(measure: Measure, photos: np.ndarray, device: str) -> Floats:
    on_arrays, on_tensors = measure
    expected = on_arrays(Views(photos))
    found = on_tensors(TensorViews(torch.from_numpy(photos).movedim(-1, 1).to(device)))
    assert found.dtype == torch.float64
    assert found.device.type == device
    np.testing.assert_allclose(found.cpu(), expected, rtol=1e-5, atol=1e-6)
    return expected


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure[0].__name__)
@pytest.mark.parametrize("size", [(480, 640), (333, 500), (193, 257), (192, 97), (900, 641), (60, 80)])
def test_equal_on_photos_of_any_size(measure: Measure, size: tuple[int, int], device: str) -> None:
    values = compare(measure, scenes(*size), device)
    if min(size) > 90 and measure not in SELDOM_TOLD:
        assert np.isfinite(values[:4]).all()
        assert np.ptp(values[:4]) > (0.03 if measure in SHARES else 0.2)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure[0].__name__)
@pytest.mark.parametrize("size", [(1, 1), (10, 700), (11, 11), (16, 16), (15, 40)])
def test_equal_on_tiny_photos(measure: Measure, size: tuple[int, int], device: str) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    values = compare(measure, photos, device)
    assert np.isfinite(values).all() if measure in ALWAYS_TOLD else np.isnan(values).all()


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure[0].__name__)
def test_no_photos(measure: Measure) -> None:
    assert measure[1](TensorViews(torch.empty(0, 3, 480, 640, dtype=torch.uint8))).shape == (0,)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure[0].__name__)
@pytest.mark.skipif(not VOC.is_dir(), reason="real photos are kept outside the repository")
def test_equal_on_real_photos(measure: Measure, device: str) -> None:
    photos = [read(path).pixels for path in sorted(VOC.glob("*.jpg"))[:24]]
    wide = np.stack([photo for photo in photos if photo.shape == (375, 500, 3)])
    assert len(wide) > 5
    values = compare(measure, wide, device)
    assert measure == JPEG_QUALITY or np.isfinite(values).mean() > 0.8


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("cut", [(0, 0), (3, 5)])
def test_equal_on_compressed_photos_whole_and_cut(cut: tuple[int, int], device: str) -> None:
    photos = []
    for quality, photo in zip((12, 30, 50, 75, 90), scenes(480, 640), strict=False):
        file = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        photos.append(cv2.imdecode(file, cv2.IMREAD_COLOR)[cut[0] :, cut[1] :])
    values = compare(JPEG_QUALITY, np.stack(photos), device)
    assert np.isfinite(values).sum() >= 3
    assert np.nanmax(values) - np.nanmin(values) > 20


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [(240, 320), (333, 200), (480, 1000)])
def test_equal_glare_and_its_map_around_a_drawn_sun(size: tuple[int, int], device: str) -> None:
    y, x = np.mgrid[: size[0], : size[1]]
    light = [255 * np.exp(-np.hypot(y - 90, x - 120) / reach) for reach in (20, 60, 150)]
    photos = np.repeat(np.stack(light)[..., None] + 30, 3, axis=3).clip(0, 255).astype(np.uint8)
    assert compare(GLARE, photos, device).max() > 0.5
    found = glare_on_tensors.glare_map(TensorViews(torch.from_numpy(photos).movedim(-1, 1).to(device)))
    np.testing.assert_allclose(found.cpu(), [glare.glare_map(photo) for photo in photos], atol=1e-4)
