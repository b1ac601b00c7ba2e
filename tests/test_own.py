"""A user's own attributes: functions of a photo that go through tagging, coverage and verdicts like any other."""

import functools
import linecache
import sys
import types
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rendered import write_config, write_world

import xai
from attributes.decode import read
from xai import importing, own, pool
from xai.after.held import Members
from xai.config import from_dict
from xai.coverage.bins import Range, fit_user_bins
from xai.exceptions import ConfigError, RequestError
from xai.types import no_progress

PHOTO = np.zeros((4, 6, 3), dtype=np.uint8)


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module of the user's."""
    module = types.ModuleType("mine")
    monkeypatch.setitem(sys.modules, "mine", module)
    return module


def values(module: types.ModuleType, function: object, photos: int = 1) -> list[own.Value]:
    module.told = function  # type: ignore[attr-defined]
    return own.measure(own.load(["python:mine.told"]), {f"{n}.jpg": PHOTO for n in range(photos)})["meta_told"]


@pytest.mark.parametrize(
    ("returned", "value"),
    [
        (3, 3.0),
        (np.float32(0.5), 0.5),
        (np.array(2), 2.0),
        (True, 1.0),
        ("rain", "rain"),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        (np.str_("fog"), "fog"),
    ],
)
def test_numbers_words_and_what_is_not_known(mine: types.ModuleType, returned: object, value: own.Value) -> None:
    assert values(mine, lambda photo: returned) == [value]


@pytest.mark.parametrize("returned", [np.datetime64("2026-01-01"), np.array("word"), 10**400, np.complex64(1j), b"x"])
def test_what_is_neither_number_nor_word_is_refused(mine: types.ModuleType, returned: object) -> None:
    with pytest.raises(RequestError, match="expected a number, a word or None"):
        values(mine, lambda photo: returned)


def test_a_function_that_fails_is_named_with_photo_and_line(mine: types.ModuleType) -> None:
    def told(photo: np.ndarray) -> float:
        return float(photo[99, 99, 0])

    with pytest.raises(RequestError, match=r"python:mine.told failed on 0.jpg: IndexError.*test_own.py, line"):
        values(mine, told)


def test_what_is_no_value_is_refused(mine: types.ModuleType) -> None:
    with pytest.raises(RequestError, match="expected a number, a word or None for a photo, got list"):
        values(mine, lambda photo: [1])


def test_the_photo_cannot_be_changed(mine: types.ModuleType) -> None:
    def told(photo: np.ndarray) -> None:
        photo[:] = 1

    with pytest.raises(RequestError, match="read-only"):
        values(mine, told)


def test_names_that_cannot_be_used(mine: types.ModuleType) -> None:
    mine.number = 3  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"python:mine.number: expected a function of a photo, got int"):
        own.load(["python:mine.number"])
    with pytest.raises(ConfigError, match="has no 'absent'"):
        own.load(["python:mine.absent"])
    with pytest.raises(ConfigError, match="found no module nowhere"):
        own.load(["python:nowhere.at_all"])
    mine.told = len  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="would both be called 'meta_told'"):
        own.load(["python:mine.told", "python:mine.told"])


def test_words_and_numbers_do_not_mix(mine: types.ModuleType) -> None:
    mine.told = len  # type: ignore[attr-defined]
    attributes = own.load(["python:mine.told"])
    assert own.columns(attributes, {"meta_told": [None, 1.0]})[0].dtype == pl.Float64
    with pytest.raises(RequestError, match="told returned numbers for some photos and words for others"):
        own.columns(attributes, {"meta_told": ["a", 1.0]})
    parts = [pl.DataFrame({"meta_told": values}) for values in ([None], ["a"], [1.0])]
    own.agree(parts[:2])
    with pytest.raises(RequestError, match="return one of the two"):
        own.agree(parts)


def test_the_key_of_the_config_is_checked() -> None:
    raw = {
        "data": {"eval": {"path": "x", "format": "voc"}, "attributes": ["mine.told"]},
        "detector": {"kind": "python:mine.detect"},
    }
    with pytest.raises(ConfigError, match=r"data.attributes.0.*expected python:MODULE.NAME"):
        from_dict(raw)


SMALL = {"train": {"path": "train", "format": "voc"}}
"""Training photos are tagged only."""

MODULE = """
import numpy as np

def half(photo):
    return "left" if photo[:, : photo.shape[1] // 2].mean() > photo[:, photo.shape[1] // 2 :].mean() else "right"

def mean(photo):
    return photo.mean()
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world")).parent


def test_from_the_photo_to_the_coverage_table(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (world / "my_attributes.py").write_text(MODULE)
    monkeypatch.chdir(world)
    named = ["python:my_attributes.half", "python:my_attributes.mean"]
    config = write_config(world / "own.yaml", data={**SMALL, "attributes": named}, explain={"budget": 0})
    run = xai.triage(config, out=world / "run")
    photos = run.images.filter(split="eval").sort("image_id")
    pixels = [read(world / "eval" / name).pixels for name in photos["image_id"]]
    assert photos["meta_mean"].to_list() == pytest.approx([photo.mean() for photo in pixels])
    rows = run.coverage.filter(attribute="meta_half").filter(pl.col("label").is_null())
    assert set(rows["bin"]) >= {"left", "right"}
    scored = run.objects.filter((pl.col("split") == "eval") & (pl.col("outcome") != "ignored"))
    assert rows["eval_count"].sum() == len(scored)
    assert rows.filter(pl.col("bin") != "unknown")["train_count"].sum() > 0
    conditions = {name for names in run.errors["conditions"].drop_nulls() for name in names}
    assert conditions & {"meta_half=left", "meta_half=right"}
    assert list(run.info["attributes"]) == named
    assert {bin_name.split()[0] for bin_name in run.coverage.filter(attribute="meta_mean")["bin"]} >= {"under"}


def test_rows_depend_on_the_code_of_the_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = []
    for name, text in (("first", MODULE), ("second", MODULE), ("third", MODULE.replace('"left" if', '"west" if'))):
        (tmp_path / f"{name}.py").write_text(text)
        told.append(own.fingerprint(own.load([f"python:{name}.half"]))[0][1])
    assert told[0] == told[1] != told[2]


def test_what_a_notebook_defines_is_told_by_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    cells: dict[str, object] = {}
    for name, text in (("a", "def told(photo):\n    return 1\n"), ("b", "def told(photo):\n    return 2\n")):
        monkeypatch.setitem(linecache.cache, f"<cell {name}>", (len(text), None, text.splitlines(True), name))
        exec(compile(text, f"<cell {name}>", "exec"), cells)
        cells[name] = importing.origin(cells["told"])
    assert cells["a"] != cells["b"]
    assert cells["a"][0] is None  # type: ignore[index]
    assert importing.origin(len) == (None, None)


def test_decorators_are_looked_through_and_bound_arguments_count() -> None:
    def bright(photo: np.ndarray, least: int) -> bool:
        return bool(photo.mean() > least)

    @functools.wraps(bright)
    def wrapped(photo: np.ndarray, least: int) -> bool:
        return bright(photo, least)

    wrapped.__code__ = wrapped.__code__.replace(co_filename=functools.__file__)
    plain, first, second = (
        importing.origin(found)
        for found in (wrapped, functools.partial(bright, least=1), functools.partial(bright, least=2))
    )
    assert plain[0] == first[0] == second[0] == __file__
    assert len({plain[1], first[1], second[1]}) == 3


def test_a_module_that_changed_since_it_was_imported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edited.py").write_text("def told(photo):\n    return 1\n")
    assert own.load(["python:edited.told"])[0].function(PHOTO) == 1
    (tmp_path / "edited.py").write_text("def told(photo):\n    return 22\n")
    with pytest.raises(ConfigError, match="has changed since it was imported"):
        own.load(["python:edited.told"])


def test_code_that_nothing_tells_is_never_taken_for_the_same() -> None:
    nameless = [own.Own("meta_x", "python:__main__.x", None, len)]
    assert own.fingerprint(nameless) != own.fingerprint(nameless)


def test_a_profile_of_other_code_is_refused(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    (world / "of_profile.py").write_text(MODULE)
    section = {"attributes": ["python:of_profile.half"]}
    config = xai.pipeline.load(write_config(world / "profiled.yaml", data=section))
    xai.profile(world / "train", out=world / "old profile", config=config)
    file = world / "old profile" / "run.json"
    file.write_text(file.read_text().replace(own.load(section["attributes"])[0].sha256 or "", "0" * 64))
    data = {**section, "train": {"profile": str(world / "old profile")}, "eval": {"path": "eval", "format": "voc"}}
    with pytest.raises(ConfigError, match=r"other code of python:of_profile\.half"):
        xai.triage(write_config(world / "against.yaml", data=data), out=world / "refused")


def test_metadata_of_the_same_name_is_refused(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (world / "my_attributes.py").write_text(MODULE)
    (world / "known.csv").write_text("image_id,half\nJPEGImages/000001.jpg,x\n")
    monkeypatch.chdir(world)
    monkeypatch.delitem(sys.modules, "my_attributes", raising=False)
    section = {"attributes": ["python:my_attributes.half"], "metadata": {"path": "known.csv"}}
    config = write_config(world / "twice.yaml", data=section)
    with pytest.raises(ConfigError, match="would both be called 'meta_half'"):
        xai.triage(config, out=world / "twice")


def test_a_pool_is_told_and_cut_like_the_run(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (world / "of_pool.py").write_text(MODULE)
    monkeypatch.chdir(world)
    attributes = own.load(["python:of_pool.half", "python:of_pool.mean"])
    tagged = pool.tag(world / "eval", None, folder=tmp_path, attributes=attributes, workers=1, progress=no_progress)
    means = tagged.images["meta_mean"].to_list()
    bins = fit_user_bins(tagged.images)
    members = Members.of(tagged, tagged.images, bins)
    lowest = next(item for item in bins["meta_mean"] if isinstance(item, Range))
    assert lowest.high is not None
    expected = [int(mean < lowest.high) for mean in means]
    assert members.holds([f"meta_mean={lowest.name}"], "photos").counts.tolist() == expected
    assert 0 < sum(expected) < len(expected)
    left = members.holds(["meta_half=left"], "photos").counts
    assert left.tolist() == [int(value == "left") for value in tagged.images["meta_half"]]
    # Another attribute: the kept tables are not taken.
    again = pool.tag(world / "eval", None, folder=tmp_path, attributes=attributes[:1], workers=1, progress=no_progress)
    assert "meta_mean" not in again.images.columns
