"""Photos of a pool that fill gaps, on rendered photos whose darkness is known."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from rendered import write_config, write_world
from test_comparing import write_run

import xai
from attributes.decode import read
from xai import augment, config, run_json, tables
from xai.exceptions import DataError, RequestError, RunError
from xai.pool import difference_hash


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world")).parent


@pytest.fixture(scope="module")
def pool(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scenes by day, two of them at night, one of these stored twice, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("pool")
    scenes = sorted((world / "train" / "JPEGImages").iterdir())[:6]
    for place, scene in enumerate(scenes):
        pixels = cv2.imread(str(scene))
        cv2.imwrite(str(folder / f"day{place}.png"), pixels)
        if place < 2:
            cv2.imwrite(str(folder / f"night{place}.png"), (pixels * 0.2).astype(np.uint8))
    again = cv2.imread(str(folder / "night0.png"))
    cv2.imwrite(str(folder / "night0 again.jpg"), again, [cv2.IMWRITE_JPEG_QUALITY, 60])
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


def row(attribute: str, bin_name: str, label: str | None = None, *, collect: int | None = 3, misses: int = 20) -> dict:
    return {
        "attribute": attribute, "bin": bin_name, "label": label, "level": "image", "assessment": "coverage_gap",
        "adjusted_risk_ratio": 4.0, "collect": collect, "miss_count": misses, "eval_count": 60, "train_count": 5,
    }  # fmt: skip


def write_gaps(folder: Path, world: Path, rows: list[dict], *, used: Path | None = None, **detector) -> Path:
    """Write a run with coverage gaps, whose training photos are like those of the pool."""
    write_run(folder, np.arange(40) % 4 == 0)
    settings = config.load(write_config(world / f"{folder.name}.yaml", **({"detector": detector} if detector else {})))
    info = run_json.read(folder)
    info |= {"config": settings.model_dump(mode="json"), "seed": 0}
    weights = Path(str(settings.detector.weights))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else "unknown"
    info["model"] = {"file": str(weights), "sha256": digest}
    info["data"]["train"] = {"path": str(world / "train"), "sha256": "t"}
    run_json.write(info, folder)
    images = pl.read_parquet(folder / "images.parquet")
    train = images.with_columns(split=pl.lit("train"), width=pl.lit(640), height=pl.lit(480), brightness=pl.lit(0.45))
    if used is not None:
        known = hashlib.sha256(used.read_bytes()).hexdigest()
        train = train.with_columns(sha256=pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(known)).otherwise("sha256"))
    stacked = tables.stack([images, train], tables.TABLES["images"])
    tables.write(stacked, folder / "images.parquet")
    made = pl.DataFrame(rows, infer_schema_length=None) if rows else tables.empty(tables.TABLES["coverage"])
    tables.write(tables.conform(made, tables.TABLES["coverage"]), folder / "coverage.parquet")
    return folder


def test_dark_photos_are_found_and_duplicates_left_out(world: Path, pool: Path, tmp_path: Path) -> None:
    run = write_gaps(tmp_path / "run", world, [row("brightness", "dark"), row("roll", "right", collect=7)])
    found = xai.collect(run, pool)
    assert found.photos["image_id"].sort().to_list()[0].startswith("night0")
    assert found.photos["image_id"].sort().to_list()[1:] == ["night1.png"]
    assert (found.searched, found.unread, found.used) == (9, 1, 0)
    gaps = {gap["gap"]: gap for gap in found.gaps.iter_rows(named=True)}
    dark = gaps["brightness=dark"]
    assert (dark["needed"], dark["in_pool"], dark["chosen"], dark["unfilled"]) == (3, 3, 2, 1)
    assert dark["weight"] == pytest.approx(20 * (1 - 1 / 4))
    assert dark["landing"] > 0.5
    assert (gaps["roll=right"]["in_pool"], gaps["roll=right"]["unfilled"]) == (0, 7)
    said = "\n".join(found.lines())
    assert "0 of 9 pool photos have roll ≥ 10" in said
    assert "Dark photo: 3 photos wanted (20 misses, 5 in training); 2 chosen, 1 still missing" in said
    listed = pl.read_csv(found.csv)
    assert listed["why"][0].startswith("dark photo (brightness 0.")
    assert all(Path(path).is_file() for path in listed["path"])
    assert pl.read_parquet(found.table).equals(found.gaps)
    json.dumps(found.figures())


def test_photos_of_the_run_are_not_chosen_again(world: Path, pool: Path, tmp_path: Path) -> None:
    run = write_gaps(tmp_path / "run", world, [row("brightness", "dark")], used=pool / "night1.png")
    found = xai.collect(run, pool)
    assert found.used == 1
    assert "night1.png" not in found.photos["image_id"].to_list()
    assert found.gaps["in_pool"].to_list() == [2]
    assert "1 pool photo is in the run's data already" in found.lines()[1]


def test_n_photos_at_most_and_tables_are_taken_again(world: Path, pool: Path, tmp_path: Path) -> None:
    run = write_gaps(tmp_path / "run", world, [row("brightness", "dark")])
    seen: list[str] = []
    first = xai.collect(run, pool, n=1, progress=lambda stage, done, total: seen.append(stage))
    assert len(first.photos) == 1
    assert seen
    seen.clear()
    again = xai.collect(run, pool, n=1, progress=lambda stage, done, total: seen.append(stage))
    assert not seen
    assert again.photos.equals(first.photos)


def test_objects_are_told_by_the_detector(world: Path, pool: Path, tmp_path: Path) -> None:
    rows = [row("object_size", name, collect=50) for name in ("tiny", "small", "medium", "large", "huge")]
    run = write_gaps(tmp_path / "run", world, [*rows, row("brightness", "normal", "car", collect=50)])
    found = xai.collect(run, pool)
    assert found.detected
    objects = pl.read_parquet(run / "collect" / "pool_objects.parquet")
    assert len(objects) > 5
    sizes = objects["object_size"].to_numpy()
    small = objects.filter((sizes >= 0.05) & (sizes < 0.15))["image_id"].n_unique()
    gaps = {gap["gap"]: gap for gap in found.gaps.iter_rows(named=True)}
    assert gaps["object_size=small"]["in_pool"] == small
    by_day = pl.read_parquet(run / "collect" / "pool_images.parquet").filter(pl.col("brightness").is_between(0.2, 0.64))
    cars = objects.filter(pl.col("label") == "car").join(by_day, on="image_id", how="semi")["image_id"].n_unique()
    assert gaps["brightness=normal & label=car"]["in_pool"] == cars


def test_without_a_detector_only_photos_are_told(world: Path, pool: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    results.write_text("[]")
    rows = [row("brightness", "dark"), row("object_size", "tiny"), row("label_pose", "Rear")]
    run = write_gaps(tmp_path / "run", world, rows)
    info = run_json.read(run)
    info["config"]["detector"] = {"kind": "torchvision", "weights": str(tmp_path / "gone.pt")}
    run_json.write(info, run)
    found = xai.collect(run, pool)
    assert not found.detected
    untold = dict(found.gaps.select("gap", "untold").iter_rows())
    assert untold == {
        "brightness=dark": None,
        "object_size=tiny": "objects of the pool are not known",
        "label_pose=Rear": "the pool has no column pose",
    }
    assert len(found.photos) == 2
    assert "cannot be loaded" in found.lines()[0]
    notes = dict(found.gaps.select("gap", "augment_note").iter_rows())
    assert notes["label_pose=Rear"] == "what pose says of a photo is not in its pixels to change"


def test_a_detector_that_changed_is_used_and_told(world: Path, pool: Path, tmp_path: Path) -> None:
    run = write_gaps(tmp_path / "run", world, [row("object_size", "small", collect=50)])
    same = xai.collect(run, pool, out=tmp_path / "same")
    assert not any("has changed" in note for note in same.notes)
    info = run_json.read(run)
    info["model"]["sha256"] = "0" * 64
    run_json.write(info, run)
    found = xai.collect(run, pool, out=tmp_path / "changed")
    assert found.detected
    assert found.gaps["untold"].to_list() == [None]
    assert found.gaps["in_pool"].to_list() == same.gaps["in_pool"].to_list()
    assert any("has changed since the run was made; objects are told by it" in note for note in found.notes)


def test_a_run_without_gaps(world: Path, pool: Path, tmp_path: Path) -> None:
    found = xai.collect(write_gaps(tmp_path / "run", world, []), pool)
    assert found.photos.is_empty()
    assert "no gap to fill" in found.lines()[-1]


def test_pipelines_are_files_that_load(world: Path, pool: Path, tmp_path: Path) -> None:
    run = write_gaps(tmp_path / "run", world, [row("brightness", "dark"), row("glare", "strong")])
    gaps = {gap["gap"]: gap for gap in xai.collect(run, pool).gaps.iter_rows(named=True)}
    loaded = augment.import_quietly().load(gaps["brightness=dark"]["pipeline"], data_format="json")
    pixels = read(pool / "day0.png").pixels
    made = loaded(image=pixels, bboxes=np.array([[10.0, 10, 50, 50]]), labels=["car"])
    assert made["image"].mean() < 0.6 * pixels.mean()
    assert gaps["glare=strong"]["pipeline"] is None
    assert "collect photos taken against the light" in gaps["glare=strong"]["augment_note"]


def test_wrong_requests(world: Path, pool: Path, tmp_path: Path) -> None:
    run = write_gaps(tmp_path / "run", world, [row("brightness", "dark")])
    with pytest.raises(RequestError, match="1 or more, got 0"):
        xai.collect(run, pool, n=0)
    with pytest.raises(RequestError, match="expected a folder of photos"):
        xai.collect(run, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected photos in"):
        xai.collect(run, tmp_path / "empty")
    with pytest.raises(RunError, match="no training set"):
        xai.collect(write_run(tmp_path / "bare", np.zeros(8, dtype=bool)), pool)


def test_hashes_of_copies_are_close(pool: Path) -> None:
    hashes = {path.stem: difference_hash(read(path).pixels) for path in pool.glob("*.*") if path.stem != "broken"}

    def bits(first: str, second: str) -> int:
        return int(np.unpackbits(hashes[first] ^ hashes[second]).sum())

    assert bits("night0", "night0 again") < 36
    assert bits("day0", "day1") > 36
