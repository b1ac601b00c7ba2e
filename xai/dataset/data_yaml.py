"""The ``data.yaml`` of a YOLO data set: where its photos are and what its classes are called."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from xai.config import YAML_ERRORS
from xai.dataset import photos
from xai.exceptions import ConfigError

YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class DataYaml:
    """What a ``data.yaml`` says.

    Attributes:
        file: the file itself.
        root: where the data is.
        names: class names by number.
        sources: folders and lists that the split consists of.
        key_points: how many numbers of key points stand behind each box.
    """

    file: Path
    root: Path
    names: Mapping[int, str]
    sources: tuple[Path, ...]
    key_points: int = 0

    @property
    def has_gaps(self) -> bool:
        """Whether the names are not numbered 0, 1, 2, ..."""
        return list(self.names) != list(range(len(self.names)))


def load(path: Path, split: str) -> DataYaml:
    """Read a ``data.yaml``; no more is taken from it than names and paths.

    Args:
        path: the file, or a folder with one.
        split: the split whose photos are wanted.

    Raises:
        ConfigError: the file, a folder that it names or the split is not there, or the class names cannot be used.
    """
    return _declared(_yaml_file(path), split)


def find_yaml(folder: Path) -> Path | None:
    """Return the folder's ``data.yaml`` or ``dataset.yaml``, else its only YAML file, else None."""
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in YAML)
    named = [file for file in found if file.stem in {"data", "dataset"}]
    return named[0] if named else found[0] if len(found) == 1 else None


def _yaml_file(path: Path) -> Path:
    if path.is_file():
        return Path(os.path.abspath(path))
    if not path.is_dir():
        raise ConfigError(f"expected a YOLO data.yaml at {path}, which is not there")
    found = find_yaml(path)
    if found is None:
        raise ConfigError(
            f"expected a data.yaml in {path}, which holds {photos.siblings(path)}; name the YAML file itself"
        )
    return Path(os.path.abspath(found))


def _declared(file: Path, split: str) -> DataYaml:
    try:
        raw = yaml.safe_load(file.read_bytes())
    except (OSError, *YAML_ERRORS) as error:
        raise ConfigError(f"expected a YOLO data.yaml at {file}: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}: expected keys path, train, val and names, got {type(raw).__name__}")
    if "validation" in raw:
        raw.setdefault("val", raw["validation"])
    base = raw.get("path") or "."
    if not isinstance(base, str) or not photos.is_unicode(base):
        raise ConfigError(f"{file}: expected 'path' to be text, got {type(base).__name__}")
    root = Path(os.path.normpath(file.parent / os.path.expanduser(base)))
    if not os.path.isdir(root):
        raise ConfigError(
            f"{file}: expected the data set at {root} ('path: {base}', relative to the file), which is no folder; "
            "correct 'path' or leave it out if the data lies beside the file"
        )
    entries = raw.get(split)
    if not entries:
        there = ", ".join(name for name in ("train", "val", "test") if raw.get(name)) or "none"
        raise ConfigError(f"{file}: expected the split {split!r}, which it does not name; splits there: {there}")
    listed = entries if isinstance(entries, list) else [entries]
    if not all(isinstance(entry, str) and photos.is_unicode(entry) for entry in listed):
        raise ConfigError(f"{file}: expected {split!r} to be a folder, a list file or a list of those")
    sources = tuple(_source(entry, root, file, split) for entry in listed)
    return DataYaml(file, _widen(root, sources, file), _names(raw, file), sources, _key_points(raw, file))


def _key_points(raw: Mapping[str, Any], file: Path) -> int:
    """Return how many numbers ``kpt_shape`` (points, numbers a point) puts behind each box."""
    shape = raw.get("kpt_shape")
    if shape is None:
        return 0
    numbers = shape if isinstance(shape, list) and len(shape) == 2 else []
    if not numbers or not all(type(number) is int and 0 < number < 1000 for number in numbers):
        raise ConfigError(
            f"{file}: expected 'kpt_shape' to be [points, 2 or 3], got {type(shape).__name__}; leave it out for boxes"
        )
    return int(numbers[0] * numbers[1])


def _source(entry: str, root: Path, file: Path, split: str) -> Path:
    """Find a folder or list that a split names: in the data set, else beside the YAML file."""
    if "\\" in entry and not os.path.exists(root / entry):
        entry = entry.replace("\\", "/")
    places = [root / entry]
    if entry.startswith("../"):  # exports often name ../train/images for the folder beside the file
        places.append(root / entry[3:])
    if entry.lower().endswith(".txt"):
        places.append(file.parent / entry)
    for place in places:
        if os.path.exists(place):
            return Path(os.path.normpath(place))
    tried = ", ".join(str(place) for place in dict.fromkeys(places))
    raise ConfigError(f"{file}: expected {split!r} ({entry}) at {tried}, which is not there")


def _widen(root: Path, sources: Sequence[Path], file: Path) -> Path:
    """Return the nearest folder that holds the data set's ``path`` and all folders of the split."""
    folders = [source for source in sources if source.is_dir()]
    common = Path(os.path.commonpath([root, *folders]))
    if common == Path(common.anchor) != root:
        raise ConfigError(f"{file}: the split's folders share no parent with {root}; set 'path' to a folder above them")
    return common


def _names(raw: Mapping[str, Any], file: Path) -> dict[int, str]:
    """Return class names by number."""
    names, count = raw.get("names"), raw.get("nc")
    if names is None and isinstance(count, int) and 0 < count <= 100_000:
        return {number: f"class_{number}" for number in range(count)}
    pairs = (
        list(enumerate(names)) if isinstance(names, list) else list(names.items()) if isinstance(names, dict) else []
    )
    found: dict[int, str] = {}
    for key, name in pairs:
        number = int(key) if str(key)[:10].isdecimal() and len(str(key)) < 10 and not isinstance(key, bool) else None
        if number is None or number in found:
            raise ConfigError(f"{file}: expected 'names' to number each class once, got the number {str(key)[:60]!r}")
        if not isinstance(name, str | int | float) or isinstance(name, bool):
            raise ConfigError(
                f"{file}: expected the name of class {number} to be text, got {type(name).__name__}; "
                "put names such as yes, no, on, off in quotes"
            )
        found[number] = photos.printable(str(name).strip())
    if not found:
        raise ConfigError(f"{file}: expected 'names', a list of class names or a mapping from number to name")
    if isinstance(count, int) and count != len(found):
        raise ConfigError(f"{file}: 'nc' says {count} classes, 'names' has {len(found)}; correct one of them")
    return dict(sorted(found.items()))
