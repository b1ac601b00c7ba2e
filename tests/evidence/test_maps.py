from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
import torch
from linear_detector import FeatureDetector
from toy_detector import SIDE, ToyDetector, photo_with

from attributes.decode import read
from attributes.frames import displayed_boxes, displayed_pixels
from xai import evidence
from xai.detect.memory import Sparing
from xai.evidence import maps
from xai.evidence.experiment import Spent
from xai.evidence.pictures import HELPS, SUPPRESSES, write_gallery_photo, write_overlay
from xai.evidence.targets import forward_func, to_input
from xai.tables import TABLES
from xai.types import Candidates, Pixels, Prepared

BOX = (32, 32, 64, 64)


def misses_of(*rows: tuple[str, str, tuple[int, ...]]) -> pl.DataFrame:
    schema = {"error_id": pl.String, "image_id": pl.String, "label": pl.String}
    schema |= dict.fromkeys(("x1", "y1", "x2", "y2"), pl.Float64)
    return pl.DataFrame(
        [(error_id, image_id, "red", *map(float, box)) for error_id, image_id, box in rows],
        schema=schema,
        orient="row",
    )


def explain(
    misses: pl.DataFrame,
    load: Callable[[str], Pixels],
    folder: Path,
    *,
    detector: ToyDetector | Sparing | None = None,
    n_maps: int = 9,
    budget: int = 10_000,
    n_masks: int = 80,
    all_pictures: bool = False,
) -> Spent:
    return maps.explain_maps(
        misses,
        misses,
        load_pixels=load,
        detector=detector or ToyDetector(),
        n_maps=n_maps,
        budget=budget,
        out_dir=folder,
        n_masks=n_masks,
        all_pictures=all_pictures,
    )


def test_a_miss_is_mapped_stored_and_judged(tmp_path: Path) -> None:
    photo = photo_with(BOX, light=0.4)
    # Green above the object's middle suppresses it.
    photo[32:48, 32:48] = (0, 160, 0)
    detector = ToyDetector()
    misses = misses_of(("é e", "a", BOX))
    spent = explain(misses, lambda _: photo, tmp_path / "maps", detector=detector, n_masks=600, all_pictures=True)
    assert spent.forwards == detector.forwards
    assert spent.evidence.schema == pl.Schema(TABLES["evidence"])
    stored = np.load(tmp_path / "maps" / "é e.npz")
    saliency = stored["saliency"]
    assert saliency.dtype == np.float16
    assert saliency.shape == stored["standard_error"].shape == (96, 128)
    assert np.abs(saliency).max() == 1
    assert stored["box"].tolist() == list(BOX)
    assert saliency[50:60, 36:60].mean() > 2 * np.abs(saliency[:20]).mean()
    assert saliency[36:44, 36:44].mean() < 0 < saliency[36:44, 52:60].mean()
    picture = cv2.imdecode(np.fromfile(tmp_path / "maps" / "é e.png", np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (96, 128, 3)
    lines = {row["name"]: row for row in spent.evidence.iter_rows(named=True)}
    assert lines["inside_box"]["after"] > 3 * lines["inside_box"]["placebo"]
    assert lines["suppressing_inside_box"]["effect"] > 0
    shares = [lines[f"suppressing_{region}"] for region in ("inside_box", "other_boxes", "context")]
    assert sum(line["after"] for line in shares) == pytest.approx(1)
    assert sum(line["placebo"] for line in shares) == pytest.approx(1)


@pytest.mark.parametrize("rows", [slice(32, 48), slice(0, 96), slice(0, 0)])
def test_suppressing_mass_in_glare(rows: slice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = photo_with(BOX, light=0.4)
    photo[32:48, 32:48] = (0, 160, 0)
    glare = np.zeros((96, 128), np.float32)
    glare[rows] = 0.9
    monkeypatch.setattr(maps, "glare_map", lambda small: glare)
    spent = explain(misses_of(("e", "a", BOX)), lambda _: photo, tmp_path, n_masks=300)
    lines = {row["name"]: row for row in spent.evidence.iter_rows(named=True)}
    if not glare.any():
        assert "suppressing_glare" not in lines, "there is no share in glare where no glare is"
        return
    stored = np.load(tmp_path / "e.npz")
    saliency, error = stored["saliency"].astype(float), stored["standard_error"].astype(float)
    mass = np.where(saliency < -2 * error, -saliency, 0)
    assert lines["suppressing_glare"]["after"] == pytest.approx(mass[rows].sum() / mass.sum(), abs=0.02)
    assert lines["suppressing_glare"]["placebo"] == pytest.approx(glare.astype(bool).mean())


def test_hiding_what_suppresses_brings_the_object_nearer() -> None:
    """A green patch upon the red half counts against the object; its mirror images do not."""
    photo = photo_with(BOX, light=0.4)
    photo[32:48, 32:48] = (0, 255, 0)
    detector = ToyDetector()
    prepared = detector.prepare([photo])[0]
    boxes = to_input(np.array([BOX], dtype=float), prepared, 0)
    score = forward_func(detector.forward, boxes.repeat(2, 1), torch.tensor([0, 0]))
    x1, y1, *_ = boxes[0].int().tolist()
    slopes = torch.zeros(2, SIDE, SIDE)
    slopes[1, y1 : y1 + 8, x1 : x1 + 8] = -1
    slopes[1, :, -1] = -0.4  # less than half as deep: no part of the region
    rows, forwards = maps._hide_suppressors(score, prepared.inputs, slopes, torch.zeros_like(slopes), ["e", "f"])
    assert forwards == detector.forwards == 5
    ((error_id, kind, name, before, after, placebo, effect),) = rows
    assert (error_id, kind, name) == ("f", "suppressor", "hidden")
    assert before == pytest.approx(float(score(prepared.inputs)[0, 1]))
    assert effect == pytest.approx(after - before)
    assert after > 3 * before
    assert placebo == pytest.approx(before, abs=0.02)


def test_a_detector_with_gradients_is_mapped_by_them(tmp_path: Path) -> None:
    photo = photo_with(BOX, light=0.4)
    photo[32:48, 32:48] = (0, 160, 0)
    detector = FeatureDetector()
    misses = misses_of(("e", "a", BOX))
    spent = explain(misses, lambda _: photo, tmp_path, detector=detector, n_masks=200)
    assert detector.forwards < spent.forwards, "a backward has its price"
    with np.load(tmp_path / "e.npz") as stored:
        saliency = stored["saliency"].astype(float)
        assert np.isnan(stored["standard_error"]).all()
    assert saliency[36:44, 36:44].mean() < 0 < saliency[36:44, 52:60].mean()
    lines = {row["name"]: row for row in spent.evidence.iter_rows(named=True)}
    assert lines["hidden"]["after"] > lines["hidden"]["before"]
    assert lines["better_than_random"]["effect"] > lines["better_than_random"]["placebo"]
    shares = [lines[f"suppressing_{region}"] for region in ("inside_box", "other_boxes", "context")]
    assert sum(line["after"] for line in shares) == pytest.approx(1)
    assert shares[0]["after"] > 3 * shares[0]["placebo"]
    # Of few masks for each of many misses, those without gradients are worth more.
    few = misses_of(*[(f"f{index}", "a", BOX) for index in range(3)])
    explain(few, lambda _: photo, tmp_path, detector=detector, n_masks=200)
    assert np.isfinite(np.load(tmp_path / "f0.npz")["standard_error"].astype(float)).all()


@pytest.mark.parametrize("failure", [torch.OutOfMemoryError(), RuntimeError("an in-place operation"), None])
def test_where_no_gradient_comes_back_masks_alone_make_the_map(failure: Exception | None, tmp_path: Path) -> None:
    class Small(FeatureDetector):
        def forward(self, inputs: torch.Tensor) -> Candidates:
            if torch.is_grad_enabled() and inputs.requires_grad:
                if failure is not None:
                    raise failure
                inputs = inputs.detach()
            return super().forward(inputs)

    misses, sparing = misses_of(("e", "a", BOX)), Sparing(Small())
    explain(misses, lambda _: photo_with(BOX, light=0.4), tmp_path, detector=sparing, n_masks=200)
    assert np.isfinite(np.load(tmp_path / "e.npz")["standard_error"].astype(float)).all()
    assert sparing.most is None, "what gradients have no room for says nothing of forwards alone"


def test_no_region_suppresses_where_everything_helps(tmp_path: Path) -> None:
    blind = ToyDetector()
    blind.kernel.zero_()
    spent = explain(misses_of(("e", "a", BOX)), lambda _: photo_with(BOX), tmp_path, detector=blind)
    assert "suppressor" not in spent.evidence["kind"].to_list()
    assert spent.forwards == blind.forwards


@pytest.mark.parametrize("box", [(500, 500, 540, 540), (-80, -80, -40, -40)])
def test_a_box_outside_the_photo_is_told_to_be_unknown(box: tuple[int, ...], tmp_path: Path) -> None:
    spent = explain(misses_of(("e", "a", box)), lambda _: photo_with(BOX), tmp_path)
    lines = {row["name"]: row for row in spent.evidence.iter_rows(named=True)}
    assert lines["inside_box"]["after"] is None
    assert lines["no_better_than_random"]["effect"] == 0
    assert (np.load(tmp_path / "e.npz")["saliency"] == 0).all()


def test_a_class_that_the_detector_lacks_is_named(tmp_path: Path) -> None:
    misses = misses_of(("e", "a", BOX)).with_columns(label=pl.lit("unicorn"))
    with pytest.raises(ValueError, match="classes, got also unicorn"):
        explain(misses, lambda _: photo_with(BOX), tmp_path)


def test_scores_that_are_not_finite_count_as_absent(tmp_path: Path) -> None:
    broken = ToyDetector()
    broken.kernel.fill_(torch.nan)
    spent = explain(misses_of(("e", "a", BOX)), lambda _: photo_with(BOX), tmp_path, detector=broken)
    assert spent.evidence.filter(name="inside_box")["after"].to_list() == [None]
    assert np.isfinite(np.load(tmp_path / "e.npz")["saliency"].astype(float)).all()


def test_a_photo_of_a_few_pixels(tmp_path: Path) -> None:
    spent = explain(misses_of(("e", "a", (0, 0, 2, 2))), lambda _: np.zeros((2, 3, 3), np.uint8), tmp_path)
    assert np.load(tmp_path / "e.npz")["saliency"].shape == (2, 3)
    assert set(spent.evidence["error_id"]) == {"e"}


def test_a_map_carries_its_own_faithfulness(tmp_path: Path) -> None:
    spent = explain(misses_of(("e", "a", BOX)), lambda _: photo_with(BOX, light=0.4), tmp_path)
    line = spent.evidence.filter(pl.col("kind") == "faithfulness").row(0, named=True)
    assert line["name"] == "better_than_random"
    assert line["effect"] == pytest.approx(line["after"] - line["before"])
    assert line["effect"] > line["placebo"] > 0


def test_a_miss_that_nothing_moves_is_honest(tmp_path: Path) -> None:
    blind = ToyDetector()
    blind.kernel.zero_()
    spent = explain(misses_of(("e", "a", BOX)), lambda _: photo_with(BOX), tmp_path, detector=blind)
    lines = {row["name"]: row for row in spent.evidence.iter_rows(named=True)}
    assert lines["inside_box"]["after"] is None
    assert lines["no_better_than_random"]["effect"] == 0
    assert (np.load(tmp_path / "e.npz")["saliency"] == 0).all()
    assert not (tmp_path / "e.png").exists(), "what is no better than random is not drawn"
    explain(misses_of(("e", "a", BOX)), lambda _: photo_with(BOX), tmp_path, detector=blind, all_pictures=True)
    assert (tmp_path / "e.png").is_file()


def test_misses_of_a_photo_share_the_masked_forwards(tmp_path: Path) -> None:
    photo = photo_with(BOX, light=0.4)
    one, two = ToyDetector(), ToyDetector()
    explain(misses_of(("e", "a", BOX)), lambda _: photo, tmp_path, detector=one)
    spent = explain(misses_of(("e", "a", BOX), ("f", "a", (70, 40, 90, 60))), lambda _: photo, tmp_path, detector=two)
    assert 2 * (maps.STEPS - 1) <= two.forwards - one.forwards <= 2 * (maps.STEPS - 1) + 5
    assert set(spent.evidence["error_id"]) == {"e", "f"}


@pytest.mark.parametrize("budget", [0, 100, 140, 141, 300, 500, 1000])
def test_the_budget_holds(tmp_path: Path, budget: int) -> None:
    misses = misses_of(*[(f"e{i}", f"{i}", BOX) for i in range(4)])
    detector = ToyDetector()
    spent = explain(misses, lambda _: photo_with(BOX), tmp_path, detector=detector, budget=budget)
    assert spent.forwards == detector.forwards <= budget
    made = sorted(file.stem for file in tmp_path.glob("*.npz"))
    assert made == [f"e{i}" for i in range(len(made))], "the first ones"
    assert len(made) == {0: 0, 100: 0, 140: 0, 141: 1, 300: 2, 500: 3, 1000: 4}[budget]


def test_no_maps_wanted_or_no_misses(tmp_path: Path) -> None:
    assert explain(misses_of(("e", "a", BOX)), lambda _: photo_with(BOX), tmp_path, n_maps=0).forwards == 0
    spent = explain(misses_of(), lambda _: photo_with(BOX), tmp_path)
    assert spent.forwards == 0
    assert spent.evidence.is_empty()
    assert spent.evidence.schema == pl.Schema(TABLES["evidence"])


@pytest.mark.parametrize("size", [(1000, 400), (60, 90)])
def test_maps_lie_on_the_photo(size: tuple[int, int]) -> None:
    """A ramp over the network's input must come out as the same ramp over the photo."""
    width, height = size
    factor = 320 / max(size)
    offset = np.array([[0.0, 7.0]])
    prepared = Prepared((0,), torch.zeros(1, 3, 400, 400), np.array([[factor, factor]]), offset, np.array([size]))
    x, y = np.meshgrid(np.arange(400) + 0.5, np.arange(400) + 0.5)
    for ramp, axis in ((x, 0), (y, 1)):
        found = maps._to_photo(ramp.astype(np.float32), prepared)
        scale = max(found.shape) / max(size)
        assert found.shape == (round(height * scale), round(width * scale))
        assert max(found.shape) == min(320, max(size))
        centres = (np.arange(found.shape[1 - axis]) + 0.5) / scale * factor + offset[0, axis]
        np.testing.assert_allclose(found.mean(axis), centres, atol=0.6)


def test_inside_equals_brute_force() -> None:
    rng = np.random.default_rng(0)
    boxes = np.sort(rng.uniform(0, 30, (7, 2, 2)), axis=1).reshape(7, 4)
    mask = np.zeros((25, 30), bool)
    for x1, y1, x2, y2 in boxes:
        mask[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = True
    assert (maps._inside(boxes, (25, 30)) == mask).all()
    assert not maps._inside(np.empty((0, 4)), (25, 30)).any()


def test_pictures(tmp_path: Path) -> None:
    photo = np.full((900, 1600, 3), 200, np.uint8)
    write_gallery_photo(photo, tmp_path / "new" / "a.jpg")
    assert cv2.imread(str(tmp_path / "new" / "a.jpg")).shape == (360, 640, 3)
    heat = np.zeros((90, 160), np.float32)
    heat[:, :40], heat[:, 120:] = 2e-6, -2e-6
    write_overlay(photo, heat, np.array([700.0, 400, 900, 500]), tmp_path / "a.png")
    picture = cv2.cvtColor(cv2.imread(str(tmp_path / "a.png")), cv2.COLOR_BGR2RGB).astype(float)
    assert picture.shape == (360, 640, 3)
    for place, colour in (((180, 20), HELPS), ((180, 620), SUPPRESSES)):
        assert np.corrcoef(picture[place], colour)[0, 1] > 0.99
    assert np.ptp(picture[20, 320]) == 0
    assert picture[180, 281].min() > 200


def test_explain_spends_once_and_keeps_every_photo(tmp_path: Path) -> None:
    photos = {"a": photo_with(BOX, light=0.3), "b": photo_with(BOX, light=0.4), "c": photo_with(BOX, light=0.35)}
    misses = misses_of(("e", "a", BOX), ("f", "b", BOX), ("g", "c", BOX), ("h", "c", (0, 0, 20, 20)))
    plan = pl.DataFrame(
        {
            "error_id": ["f", "g"],
            "cause": ["darkness"] * 2,
            "repair": ["lift_shadows"] * 2,
            "priority": [1.0, 2.0],
        }
    )
    detector = ToyDetector()

    def run(plan: pl.DataFrame | None, budget: int = 60) -> pl.DataFrame:
        return evidence.explain(
            misses,
            plan=plan,
            objects=misses,
            load_pixels=photos.__getitem__,
            detector=detector,
            budget=budget,
            maps=1,
            match_iou=0.5,
            seed=0,
            folder=tmp_path,
        )

    lines = run(plan)
    assert detector.forwards <= 60 * 4
    assert lines.schema == pl.Schema(TABLES["evidence"])
    assert set(lines.filter(pl.col("kind") == "repair")["error_id"]) == {"f", "g"}
    assert set(lines.filter(pl.col("kind") == "saliency")["error_id"]) == {"g"}, "the highest priority"
    assert sorted(file.stem for file in (tmp_path / "gallery").iterdir()) == ["e", "f", "g", "h"]
    assert sorted(file.name for file in (tmp_path / "maps").iterdir()) == ["g.npz", "g.png"]
    assert run(None, budget=0).is_empty()


def test_gradient_mode_is_restored_when_the_forward_fails(tmp_path: Path) -> None:
    detector = ToyDetector()
    detector.fails = True
    with pytest.raises(RuntimeError, match="the forward fails"):
        explain(misses_of(("e", "a", BOX)), lambda _: photo_with(BOX), tmp_path, detector=detector)
    assert torch.is_grad_enabled()
    assert not list(tmp_path.iterdir())


def test_a_map_of_the_photo_as_stored_is_turned_with_it(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    stored = generator.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    box = np.array([5.0, 10.0, 15.0, 28.0])
    for orientation in range(1, 9):
        shown = displayed_pixels(stored, orientation)
        moved = displayed_boxes(box[None], orientation, shown.shape[1], shown.shape[0])[0]
        saliency = stored[:, :, 0].astype(np.float32) / 255 - 0.5
        maps._store(saliency, saliency**2, stored, box, tmp_path / "a")
        maps.turn_map(tmp_path / "a", shown, moved, orientation)
        with np.load(tmp_path / "a.npz") as kept:
            np.testing.assert_allclose(kept["saliency"] * kept["scale"], shown[:, :, 0] / 255 - 0.5, atol=1e-3)
            np.testing.assert_array_equal(kept["box"], moved)
            assert kept["standard_error"].shape == shown.shape[:2]
        assert read(tmp_path / "a.png").pixels.shape == shown.shape
