import cv2
import numpy as np
import pytest

from xai.causes import CAUSES
from xai.evidence import photometric
from xai.evidence.repair import PLACEBOS, REPAIRS, RepairContext, turn_but_not_upright
from xai.types import Boxes, Pixels

rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Give each test its own draws, whichever tests the worker ran before."""
    rng.bit_generator.state = np.random.default_rng(0).bit_generator.state


BOX = np.array([60.0, 50, 140, 110])


def scene() -> Pixels:
    """Textured surroundings with an object of stripes and corners: smooth, sharp, dark and bright parts."""
    texture = cv2.GaussianBlur(rng.uniform(0, 255, (160, 200, 3)).astype(np.float32), (0, 0), 3)
    texture = (texture - texture.mean()) * 4 + 110
    texture[50:110, 60:140] = np.where((np.arange(80) // 10 % 2)[None, :, None], 190, 40)
    return np.clip(texture, 0, 255).astype(np.uint8)


def error(pixels: Pixels, clean: Pixels) -> float:
    """Root mean squared difference around the object, after the best gain and offset: what a detector cannot undo."""
    part = (slice(35, 125), slice(45, 155))
    x, y = pixels[part].astype(float).ravel(), clean[part].astype(float).ravel()
    slope, offset = np.polyfit(x, y, 1)
    return float(np.sqrt(np.mean((slope * x + offset - y) ** 2)))


def contrast(pixels: Pixels) -> float:
    return float(pixels[50:110, 60:140].std())


def test_every_cause_finds_its_repair() -> None:
    assert {cause.repair for cause in CAUSES.values() if cause.repair} == set(REPAIRS)


@pytest.mark.parametrize("name", REPAIRS)
@pytest.mark.parametrize(
    "box",
    [BOX, np.array([0.0, 0, 200, 160]), np.array([0.0, 0, 1, 1]), np.array([199.5, 159.5, 200, 160])],
    ids=["middle", "whole photo", "one pixel", "corner"],
)
@pytest.mark.parametrize("level", [None, 0, 255], ids=["scene", "black", "white"])
def test_every_repair_gives_a_photo_or_none(name: str, box: Boxes, level: int | None) -> None:
    pixels = scene() if level is None else np.full((160, 200, 3), level, dtype=np.uint8)
    before = pixels.copy()
    context = RepairContext({"rotation": 90.0, "roll": 14.0, "jpeg_quality": 30.0}, np.array([[100.0, 60, 180, 130]]))
    done = REPAIRS[name](pixels, box, context)
    assert (pixels == before).all()
    if done is None:
        return
    assert done.pixels.dtype == np.uint8
    assert done.pixels.ndim == 3
    assert done.pixels.flags.c_contiguous
    assert done.matrix.shape == (2, 3)
    height, width = done.pixels.shape[:2]
    assert np.isfinite(done.box).all()
    assert (done.box[2:] > done.box[:2]).all()
    assert (done.box >= -1e-6).all()
    assert (done.box <= np.array([width, height, width, height]) + 1e-6).all()


@pytest.mark.parametrize("name", [*REPAIRS, *PLACEBOS])
def test_a_photo_of_one_pixel(name: str) -> None:
    photo = np.full((1, 1, 3), 30, dtype=np.uint8)
    context = RepairContext({"rotation": 180.0, "roll": -20.0, "jpeg_quality": 10.0}, np.array([[0.0, 0, 1, 1]]))
    done = {**REPAIRS, **PLACEBOS}[name](photo, np.array([0.0, 0, 1, 1]), context)
    assert done is None or done.pixels.size >= 3


def test_unknown_attributes_mean_not_applicable() -> None:
    for values in ({}, {"rotation": None, "roll": None}, {"rotation": float("nan"), "roll": float("nan")}):
        assert REPAIRS["turn_upright"](scene(), BOX, RepairContext(values)) is None
        assert REPAIRS["level"](scene(), BOX, RepairContext(values)) is None
    upright = RepairContext({"rotation": 0.0, "roll": 1.0})
    assert REPAIRS["turn_upright"](scene(), BOX, upright) is None
    assert REPAIRS["level"](scene(), BOX, upright) is None
    assert REPAIRS["hide_neighbours"](scene(), BOX, RepairContext()) is None


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turning_upright_undoes_the_turn_and_its_placebo_does_not(degrees: int) -> None:
    clean = scene()
    # The photo lies turned anticlockwise by what brings it upright clockwise.
    planted = np.rot90(clean, k=degrees // 90)
    context = RepairContext({"rotation": float(degrees)})
    turned = REPAIRS["turn_upright"](planted, BOX, context)
    assert turned is not None
    assert (turned.pixels == clean).all()
    placebo = turn_but_not_upright(planted, BOX, context)
    assert placebo is not None
    assert placebo.pixels.shape != clean.shape or (placebo.pixels != clean).any()
    assert placebo.pixels.shape != planted.shape or (placebo.pixels != planted).any()


def test_lifting_undoes_underexposure() -> None:
    clean = scene()
    planted = np.rint(((clean / 255.0) ** 2.2 * 0.03) ** (1 / 2.2) * 255).astype(np.uint8)
    done = REPAIRS["lift_shadows"](planted, BOX, RepairContext())
    assert done is not None
    assert contrast(done.pixels) > 3 * contrast(planted)
    assert 70 < np.median(done.pixels[35:125, 45:155].mean(2)) < 150
    assert REPAIRS["lift_shadows"](np.full_like(clean, 140), BOX, RepairContext()) is None


def test_compressing_undoes_overexposure() -> None:
    clean = scene()
    planted = np.clip(255 - (255 - clean.astype(float)) * 0.3, 0, 255).astype(np.uint8)
    done = REPAIRS["compress_highlights"](planted, BOX, RepairContext())
    assert done is not None
    assert contrast(done.pixels) > 1.5 * contrast(planted)
    assert REPAIRS["compress_highlights"](np.full_like(clean, 90), BOX, RepairContext()) is None


def test_stretching_takes_a_coloured_veil_off() -> None:
    clean = scene()
    planted = np.rint(0.2 * clean + 0.8 * np.array([200.0, 210, 230])).astype(np.uint8)
    done = REPAIRS["stretch_contrast"](planted, BOX, RepairContext())
    assert done is not None
    assert contrast(done.pixels) > 4 * contrast(planted)
    assert error(done.pixels, clean) < 5
    full = clean.copy()
    full[50:60], full[60:70] = 0, 255
    assert REPAIRS["stretch_contrast"](full, BOX, RepairContext()) is None


def test_toning_down_takes_a_halo_off() -> None:
    clean = scene()
    y, x = np.mgrid[:160, :200]
    halo = np.exp(-((x - 100) ** 2 + (y - 60) ** 2) / (2 * 50**2))[..., None]
    planted = np.rint(clean + (255.0 - clean) * 0.85 * halo).astype(np.uint8)
    done = REPAIRS["tone_down_glare"](planted, BOX, RepairContext())
    assert done is not None
    assert contrast(done.pixels) > 1.5 * contrast(planted)
    assert error(done.pixels, clean) < error(planted, clean)


@pytest.mark.parametrize("far", [0.3, 0.6])
def test_dehazing_takes_a_veil_off_that_thickens_with_distance(far: float) -> None:
    clean = scene()
    clean[::8, ::8] = 0  # something dark everywhere, as in photos
    transmission = np.linspace(far, 0.8, 160)[:, None, None]  # the foreground is nearer
    planted = np.rint(clean * transmission + np.array([215.0, 220, 230]) * (1 - transmission)).astype(np.uint8)
    planted[:4] = (215, 220, 230)
    done = REPAIRS["dehaze"](planted, BOX, RepairContext())
    assert done is not None
    before, after = (np.abs(photo.astype(float) - clean)[8:].mean() for photo in (planted, done.pixels))
    assert after < 0.65 * before
    assert contrast(done.pixels) > 1.2 * contrast(planted)
    assert error(done.pixels, clean) < error(planted, clean)
    assert REPAIRS["dehaze"](clean, BOX, RepairContext()) is None


def test_a_guided_map_follows_the_guide() -> None:
    guide = np.repeat(np.where(np.arange(256) < 100, 0.2, 0.8)[None], 256, axis=0).astype(np.float32)
    small = cv2.resize(guide, (64, 64), interpolation=cv2.INTER_AREA)
    found = photometric._along_edges(0.5 * small + 0.1, small, guide)
    # Enlarged by itself the small map would be off by 0.15 beside the edge.
    np.testing.assert_allclose(found, 0.5 * guide + 0.1, atol=0.06)
    np.testing.assert_allclose(photometric._along_edges(np.full_like(small, 0.5), small, guide), 0.5, atol=1e-5)


@pytest.mark.parametrize("quality", [10, 25, 45])
def test_deblocking_takes_blocks_off(quality: int) -> None:
    clean = scene()
    planted = cv2.imdecode(cv2.imencode(".jpg", clean, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    done = REPAIRS["deblock"](planted, BOX, RepairContext({"jpeg_quality": float(quality)}))
    assert done is not None
    assert cv2.PSNR(done.pixels, clean) > cv2.PSNR(planted, clean)
    edges = [np.abs(np.diff(photo.astype(float), axis=1)).mean((0, 2)) for photo in (planted, done.pixels)]
    blocks = [steps[7::8].mean() / np.delete(steps, np.s_[7::8]).mean() for steps in edges]
    assert abs(blocks[1] - 1) < abs(blocks[0] - 1)
    for values in ({}, {"jpeg_quality": None}, {"jpeg_quality": 80.0}):
        assert REPAIRS["deblock"](planted, BOX, RepairContext(values)) is None


def test_sharpening_brings_edges_back() -> None:
    clean = scene()
    planted = cv2.GaussianBlur(clean, (0, 0), 1.5)
    done = REPAIRS["sharpen"](planted, BOX, RepairContext())
    assert done is not None
    assert error(done.pixels, clean) < error(planted, clean)


def test_denoising_takes_noise_off_and_knows_how_much() -> None:
    clean = scene()
    planted = np.clip(clean + rng.normal(0, 25, clean.shape), 0, 255).astype(np.uint8)
    done = REPAIRS["denoise"](planted, BOX, RepairContext())
    assert done is not None
    assert error(done.pixels, clean) < 0.7 * error(planted, clean)
    assert REPAIRS["denoise"](np.full_like(clean, 90), BOX, RepairContext()) is None
    flat = np.clip(rng.normal(128, 10, (300, 300)), 0, 255).astype(np.uint8)
    assert photometric._noise(flat) == pytest.approx(10, rel=0.05)


def test_hiding_neighbours_spares_the_object_and_all_else() -> None:
    pixels = scene()
    neighbours = np.array([[120.0, 60, 180, 130], [0.0, 0, 5, 5]])
    box = np.array([100.0, 50, 140, 110])
    done = REPAIRS["hide_neighbours"](pixels, box, RepairContext({}, neighbours))
    assert done is not None
    assert (done.pixels[50:110, 100:140] == pixels[50:110, 100:140]).all(), "the object itself"
    assert (done.pixels[:10, :10] == pixels[:10, :10]).all(), "a neighbour out of reach"
    assert (done.pixels[60:130, 145:180] != pixels[60:130, 145:180]).mean() > 0.5
    detail = [cv2.Laplacian(photo, cv2.CV_32F)[65:125, 145:175].std() for photo in (done.pixels, pixels)]
    assert detail[0] < 0.5 * detail[1]


def test_covered_equals_brute_force() -> None:
    corners = np.sort(rng.uniform(-10, 60, (12, 2, 2)), axis=1)
    boxes = corners.reshape(12, 4)
    mask = np.zeros((40, 50), dtype=bool)
    for x1, y1, x2, y2 in np.rint(np.clip(boxes, 0, [50, 40, 50, 40])).astype(int):
        mask[y1:y2, x1:x2] = True
    assert (photometric._covered(boxes, 40, 50) == mask).all()
    assert not photometric._covered(np.empty((0, 4)), 4, 5).any()


def test_hiding_everything_is_finite() -> None:
    hidden = photometric.hide(scene(), np.array([[0.0, 0, 200, 160]]), np.array([10.0, 10, 20, 20]))
    assert (hidden[10:20, 10:20] == 0).mean() < 1
    assert hidden.dtype == np.uint8


@pytest.mark.parametrize("name", PLACEBOS)
def test_placebos_change_as_little_as_they_say(name: str) -> None:
    clean = scene()
    done = PLACEBOS[name](clean, BOX, RepairContext())
    assert done.pixels.shape == clean.shape
    assert (done.pixels != clean).any()
    sizes = done.box[2:] - done.box[:2]
    assert sizes == pytest.approx(BOX[2:] - BOX[:2], rel=0.021)
