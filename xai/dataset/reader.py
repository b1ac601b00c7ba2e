"""One door to all data set formats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from xai.dataset import data_yaml, photos, voc, yolo
from xai.exceptions import ConfigError
from xai.types import Dataset


class Reader(Protocol):
    """Reads one format; see ``voc.read`` for what is expected of it."""

    def __call__(self, path: Path, *, role: str, split: str | None = None) -> Dataset:
        """Read a split of the data set at ``path``."""


READERS: Mapping[str, Reader] = {"voc": voc.read, "yolo": yolo.read}
"""Format → reader. A further format is one function and one line here."""


def read(path: Path, format: str, *, role: Literal["train", "eval"], split: str | None = None) -> Dataset:
    """Read photos and labels of a split; no photo is opened.

    Args:
        path: the data set's folder, or its ``data.yaml``.
        format: a name in ``READERS``.
        role: what the tables call the split.
        split: the data set's own name of it; the format's default if left out.

    Raises:
        ConfigError: there is no such format, path or split.
        DataError: the data set has nothing that can be used.
    """
    if format not in READERS:
        raise ConfigError(f"unknown data set format {format!r}; valid ones: {', '.join(sorted(READERS))}")
    return READERS[format](Path(path), role=role, split=split)


def guess_format(path: Path) -> str:
    """Tell a data set's format from its files.

    Raises:
        ConfigError: it looks like none of them.
    """
    if (path / "Annotations").is_dir():
        return "voc"
    if path.suffix.lower() in data_yaml.YAML or (path.is_dir() and data_yaml.find_yaml(path) is not None):
        return "yolo"
    raise ConfigError(
        f"cannot tell the format of {path}: expected a folder with Annotations and JPEGImages (voc), or a data.yaml "
        f"(yolo); found {photos.siblings(path)}"
    )
