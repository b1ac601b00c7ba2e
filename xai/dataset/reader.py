"""One door to all data set formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol

from attributes import remote
from xai.dataset import coco, data_yaml, voc, yolo
from xai.dataset.photos import siblings
from xai.dataset.placing import check_frame
from xai.dataset.shadow import read_at_url
from xai.exceptions import ConfigError
from xai.types import Dataset


class Reader(Protocol):
    """Reads one format; see ``voc.read`` for what is expected of it."""

    def __call__(self, path: Path, *, role: str, split: str | None = None, photos: Path | None = None) -> Dataset:
        """Read a split of the data set at ``path``; formats whose labels tell where photos are refuse ``photos``."""


READERS: Mapping[str, Reader] = {"coco": coco.read, "voc": voc.read, "yolo": yolo.read}
"""Format → reader. A further format is one function and one line here."""


Role = Literal["train", "eval", "production", "audit"]


def read(
    path: Path,
    format: str,
    *,
    role: Role,
    split: str | None = None,
    photos: Path | None = None,
    label_frame: str = "auto",
) -> Dataset:
    """Read photos and labels of a split; no photo is opened.

    Args:
        path: the data set's folder, or its ``data.yaml`` or COCO JSON, here or at a URL (``remote.place``).
        format: a name in ``READERS``.
        role: what the tables call the split.
        split: the data set's own name of it; the format's default if left out.
        photos: the folder of a COCO file's photos, where it is not found by itself.
        label_frame: the frame that boxes were drawn in, ``auto``, ``displayed`` or ``stored``; ``validate.resolve``
            acts on it.

    Raises:
        ConfigError: there is no such format, path, split or frame, or the split's name is none.
        DataError: the data set has nothing that can be used.
    """
    if format not in READERS:
        raise ConfigError(f"unknown data set format {format!r}; valid ones: {', '.join(sorted(READERS))}")
    if split is not None and (not split or set(split) & set("/\\*?[]\0")):
        raise ConfigError(f"expected the name of a split, such as train or val, got {split[:100]!r}")
    check_frame(label_frame)

    def here(path: Path, photos: Path | None) -> Dataset:
        return READERS[format](path, role=role, split=split, photos=photos)

    path = Path(path)
    far = remote.address(path) or (photos and remote.address(photos))
    return replace(read_at_url(here, path, photos) if far else here(path, photos), label_frame=label_frame)


def guess_format(path: Path) -> str:
    """Tell a data set's format from its files.

    Raises:
        ConfigError: there is nothing, or it looks like none of them.
    """
    if url := remote.address(path):
        raise ConfigError(f"expected the format of the data set at {url} to be named: voc, yolo or coco")
    if not path.exists():
        raise ConfigError(f"expected a data set at {path}, found nothing there")
    if (path / "Annotations").is_dir():
        return "voc"
    if path.suffix.lower() in data_yaml.YAML or (path.is_dir() and data_yaml.find_yaml(path) is not None):
        return "yolo"
    if path.suffix.lower() == ".json" or any(next(path.glob(place), None) for place in _COCO):
        return "coco"
    raise ConfigError(
        f"cannot tell the format of {path}: expected a folder with Annotations and JPEGImages (voc), a data.yaml "
        f"(yolo), or a JSON file or a folder with one (coco); found {siblings(path)}"
    )


_COCO = ("*.json", "annotations/*.json", "*/_annotations.coco.json")
