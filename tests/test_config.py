"""Config errors name the key, what was expected, what came and the nearest valid name."""

import contextlib
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xai import config
from xai.dataset import READERS
from xai.detect.detector import LOADERS
from xai.exceptions import ConfigError

TEXT = """
data:
  train: {path: train, format: voc}
  eval: {path: ../eval, format: yolo}
detector: {kind: torchvision, weights: detector.pt}
"""


def write(tmp_path: Path, text: str = TEXT) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_config_file(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path))
    assert loaded.data.eval.path == tmp_path.parent / "eval"
    assert loaded.detector.weights == tmp_path / "detector.pt"


def test_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path))
    assert (loaded.detector.score_threshold, loaded.detector.nms_iou, loaded.match.iou) == (0.25, 0.7, 0.5)
    assert (loaded.explain.budget, loaded.explain.maps, loaded.data.max_bad) == (40, 20, 0.05)


def test_overrides_are_read_as_yaml(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path), ["promise.recall=0.95", "explain.repairs=false"])
    assert loaded.promise.recall == 0.95
    assert loaded.explain.repairs is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TEXT + "promise: {recal: 0.9}", ["promise.recal", "did you mean 'recall'", "confidence"]),
        (TEXT.replace("torchvision", "torchvison"), ["detector.kind", "torchvison", "did you mean 'torchvision'"]),
        (TEXT + "match: {iou: high}", ["match.iou", "'high'"]),
        (TEXT + "promise: {recall: 1.5}", ["promise.recall", "1.5", "less than 1"]),
        (TEXT + "promise: {recall: 95}", ["promise.recall", "got 95; shares are", "did you mean 0.95?"]),
        ("detector: {kind: torchvision, weights: a.pt}", ["'data' is missing"]),
        (TEXT.replace(", format: yolo", ""), ["data.eval.format", "missing"]),
        (TEXT.replace("{path: train, format: voc}", "{path: train}"), ["data.train", "expected 'format'"]),
        (TEXT.replace("path: train,", "path: train, profile: p,"), ["data.train", "exactly one"]),
        ("data: 3\ndetector: {}", ["'data'", "section of keys", "3"]),
        ("[1, 2]", ["expected a mapping", "list"]),
        ("data: {", ["not valid YAML"]),
        ("", ["expected a mapping"]),
    ],
)
def test_errors_are_for_people(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path, text))
    message = str(caught.value)
    assert "config.yaml" in message
    assert len(message.splitlines()) <= 2
    for word in words:
        assert word in message


def test_a_config_may_name_every_format_and_kind_that_there_is() -> None:
    assert set(get_args(config.Format)) == set(READERS)
    assert {*config.KINDS, "python"} == set(LOADERS)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a YAML config"):
        config.load(tmp_path / "none.yaml")


@pytest.mark.parametrize("override", ["promise.recall", "=3", "match.iou.x=1", "promise={"])
def test_bad_overrides(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        config.load(write(tmp_path, TEXT + "match: {iou: 0.6}"), [override])


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        config.load(write(tmp_path, "data: !!python/object/apply:os.system ['touch pwned']"))
    assert not (tmp_path / "pwned").exists()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda child: (
            st.lists(child, max_size=3)
            | st.dictionaries(
                st.sampled_from(["data", "eval", "train", "path", "detector", "kind", "x"]), child, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_any_mapping_is_accepted_or_refused_with_a_message(raw: object) -> None:
    if not isinstance(raw, dict):
        return
    with contextlib.suppress(ConfigError):
        assert isinstance(config.from_dict(raw), config.Config)


def test_urls_name_data_and_nothing_else(tmp_path: Path) -> None:
    data = {"production": {"path": "s3://bucket/photos"}, "reported": "cases.csv"}
    read = config.from_dict({"data": data, "detector": {"kind": "torchvision", "weights": "w.pt"}}, base=tmp_path)
    assert read.data.production is not None
    assert read.data.production.path.as_posix() == "s3:/bucket/photos"
    assert config.from_dict(read.model_dump(mode="json")).data == read.data, "as run.json keeps it"
    with pytest.raises(ConfigError, match=r"'detector.weights': expected a path on this machine, a URL"):
        config.from_dict({"data": data, "detector": {"kind": "torchvision", "weights": "s3://bucket/w.pt"}})
    data = {"production": {"path": "ftp://me:secret@host/photos"}, "reported": "cases.csv"}
    with pytest.raises(ConfigError, match="expected a URL without user and password"):
        config.from_dict({"data": data, "detector": {"kind": "torchvision", "weights": "w.pt"}})
