"""One miss in depth, on rendered scenes with the shipped detector."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rendered import write_world
from typer.testing import CliRunner

import xai
from attributes.decode import read
from xai import tables
from xai.cli import app
from xai.exceptions import RequestError, RunError
from xai.explaining import FOLDER, sheet
from xai.rules import MISSES

MASKS = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small world and a finished run of it."""
    folder = tmp_path_factory.mktemp("explain")
    xai.triage(write_world(folder), out=folder / "run")
    return folder


@pytest.fixture
def run(world: Path) -> xai.Run:
    return xai.Run(world / "run")


def misses(run: xai.Run) -> list[str]:
    return run.errors.filter(pl.col("kind").is_in(MISSES))["error_id"].to_list()


def test_a_miss_is_mapped_and_told(run: xai.Run) -> None:
    before = {name: tables.read(run.path, name) for name in tables.TABLES}
    name = misses(run)[0]
    found = xai.explain(run.path, name, n_masks=MASKS)
    assert found.error_id == name
    assert found.picture == run.path / FOLDER / f"{name}.png"
    assert found._repr_png_().startswith(b"\x89PNG")
    assert found.saliency.ndim == 2
    assert np.abs(found.saliency).max() == pytest.approx(1)
    row = run.verdicts.filter(error_id=name).row(0, named=True)
    assert name in found.text[0]
    assert found.text[1] == row["sentence"]
    assert {"saliency", "faithfulness"} <= set(found.evidence["kind"])
    others = ~pl.col("kind").is_in(["saliency", "suppressor", "faithfulness"])
    assert_frame_equal(
        found.evidence.filter(others), run.evidence.filter((pl.col("error_id") == name) & others), check_row_order=False
    )
    figure = found.figure()
    assert figure.axes[0].get_title() == found.text[0]
    for table, frame in before.items():
        assert_frame_equal(tables.read(run.path, table), frame)


def test_the_beginning_of_an_id_is_enough_and_the_seed_decides(run: xai.Run) -> None:
    name = misses(run)[0]
    one, same, other = (xai.explain(run.path, name[:10], n_masks=MASKS, seed=seed) for seed in (1, 1, 2))
    assert one.error_id == name
    assert np.array_equal(one.saliency, same.saliency)
    assert not np.array_equal(one.saliency, other.saliency)


@pytest.mark.parametrize("wrong", ["", "no such id", "'"])
def test_unknown_misses_are_named(wrong: str, run: xai.Run) -> None:
    with pytest.raises(RequestError, match=rf"no miss begins with .*{misses(run)[0]}"):
        xai.explain(run.path, wrong)


@pytest.mark.parametrize("masks", [0, 59, 61, -2])
def test_too_few_masks_are_refused(masks: int, run: xai.Run) -> None:
    with pytest.raises(RequestError, match="even number of masks, 60 or more"):
        xai.explain(run.path, misses(run)[0], n_masks=masks)


def test_what_has_changed_since_is_not_explained(world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "world"
    shutil.copytree(world, copy)
    path = copy / "run" / "run.json"
    info = json.loads(path.read_text())
    info["data"]["eval"]["path"] = str(copy / Path(info["data"]["eval"]["path"]).relative_to(world.resolve()))
    path.write_text(json.dumps(info))
    run = xai.Run(copy / "run")
    name = misses(run)[0]
    photo = Path(info["data"]["eval"]["path"]) / run.errors.filter(error_id=name)["image_id"][0]
    whole = photo.read_bytes()
    photo.write_bytes(whole + b" ")
    with pytest.raises(RunError, match="is not the photo that the run was made of"):
        xai.explain(run.path, name, n_masks=MASKS)
    photo.unlink()
    with pytest.raises(RunError, match="cannot be read any more"):
        xai.explain(run.path, name, n_masks=MASKS)
    photo.write_bytes(whole)
    info["model"]["sha256"] = "0" * 64
    path.write_text(json.dumps(info))
    with pytest.raises(RunError, match="has changed since"):
        xai.explain(run.path, name, n_masks=MASKS)
    info["config"]["detector"]["kind"] = "predictions"
    path.write_text(json.dumps(info))
    with pytest.raises(RequestError, match="heat maps need a model"):
        xai.explain(run.path, name, n_masks=MASKS)


def test_the_command_tells_the_same(run: xai.Run) -> None:
    name = misses(run)[0]
    done = CliRunner().invoke(app, ["explain", str(run.path), name, "--masks", str(MASKS), "--quiet"])
    assert done.exit_code == 0
    found = xai.explain(run.path, name, n_masks=MASKS)
    assert done.stdout.splitlines() == [*found.text, f"heat map: {found.picture}"]
    lines = (
        CliRunner().invoke(app, ["explain", str(run.path), name, "--masks", str(MASKS), "--json"]).stdout.splitlines()
    )
    told = [json.loads(line) for line in lines]
    assert [row["kind"] for row in told if row["event"] == "evidence"] == found.evidence["kind"].to_list()
    assert told[-1] == {"event": "done", "error_id": name, "picture": str(found.picture)}


def test_heat_maps_side_by_side(world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(world / "run", copy)
    with pytest.raises(RequestError, match=r"no heat maps: triage with explain.maps"):
        sheet(copy)
    names = misses(xai.Run(copy))[:2]
    (copy / "maps").mkdir(exist_ok=True)
    for name in names:
        xai.explain(world / "run", name, n_masks=MASKS)
        shutil.copy(world / "run" / FOLDER / f"{name}.npz", copy / "maps")
    done = CliRunner().invoke(app, ["explain", str(copy), "--sheet"])
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [f"heat maps: {copy / FOLDER / 'sheet.png'}"]
    both = read(copy / FOLDER / "sheet.png").pixels
    one = read(sheet(copy, count=1, out=tmp_path / "one.png")).pixels
    assert both.shape[1] == 2 * one.shape[1]
    with pytest.raises(RequestError, match="at least 1 map"):
        sheet(copy, count=0)


def test_either_a_miss_or_the_sheet(run: xai.Run) -> None:
    for arguments in ([], [misses(run)[0], "--sheet"]):
        with pytest.raises(RequestError, match="either the ERROR_ID of a miss or --sheet"):
            CliRunner().invoke(app, ["explain", str(run.path), *arguments], catch_exceptions=False)
