"""Recipes: there is one for every cause and every kind of error, and a team's own come first."""

from pathlib import Path

import pytest

from xai import recipes
from xai.causes import CAUSES
from xai.exceptions import ConfigError, DataError, DetectorError, RequestError, RunError

PARTS = ("# ", "## Check first", "## What fixes it", "## What it costs")


@pytest.mark.parametrize("name", [*CAUSES, "exif_mismatch", "label_error", "score_threshold", "unexplained"])
def test_every_cause_has_a_recipe_of_its_own(name: str) -> None:
    assert recipes.of_cause(name) == name
    assert recipes.path(name).is_file()


@pytest.mark.parametrize("name", ["suppression", "look_alike", "missing_annotation", "unexplained"])
def test_causes_of_false_detections_too(name: str) -> None:
    assert name in recipes.names()


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_says_what_to_check_what_fixes_it_and_what_it_costs(name: str) -> None:
    text = recipes.text(name)
    assert [line[: len(part)] for part in PARTS for line in text.splitlines() if line.startswith(part)][:1] == ["# "]
    assert all(part in text for part in PARTS)
    assert len(text) < 2000


@pytest.mark.parametrize("error", [ConfigError("x"), DetectorError("x"), RunError("x"), DataError("x")])
def test_errors_lead_to_a_recipe(error: RequestError) -> None:
    assert recipes.of_error(error) in recipes.names()


def test_a_wrong_request_in_general_has_none_and_doubtful_issues_have() -> None:
    assert recipes.of_error(RequestError("x")) is None
    assert recipes.of_issue("boxes_as_fractions") == "boxes_off_photo"
    assert recipes.of_issue("detector_silent") == "detector_silent"
    assert recipes.of_issue("listed_twice") is None


def test_a_teams_own_recipe_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "glare.md").write_text("# Ours\n", encoding="utf-8")
    (tmp_path / "gate_4.md").write_text("# Gate 4\n", encoding="utf-8")
    monkeypatch.setenv(recipes.OWN, str(tmp_path))
    assert recipes.text("glare") == "# Ours\n"
    assert "gate_4" in recipes.names()
    assert recipes.path("haze").parent == recipes.PACKAGED


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean 'glare'"):
        recipes.path("glaer")
    with pytest.raises(RequestError, match=r"got '\.\./run'"):
        recipes.text("../run")
