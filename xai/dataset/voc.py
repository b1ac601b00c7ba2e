"""PASCAL VOC: one XML file a photo.

Layout::

    Annotations/000004.xml        JPEGImages/000004.jpg        ImageSets/Main/SPLIT.txt

VOC counts pixels from 1 and includes the last one, so a box of the first pixel is (1, 1, 1, 1). Tables hold continuous
coordinates, in which that pixel spans 0–1: ``x1 = xmin - 1``, ``y1 = ymin - 1``, ``x2 = xmax``, ``y2 = ymax``, the box
areas of the VOC devkit. ultralytics' converter shifts the left and right edges by one, torchvision passes the numbers
on as they are: boxes differ by up to a pixel between tools. Files of tools that count from 0 may begin at -1 here; that
is within the tolerance of ``validate.resolve``, which clips it.

Photo and XML belong together by their names without ending: tools that rename files leave the old ``<filename>``
behind. ``<part>`` boxes are passed over. A photo without XML has not been annotated: it is left out, since detections
on it could not be called wrong.

Source: Everingham et al., "The PASCAL Visual Object Classes Challenge 2007 Development Kit", sections 3 and 5.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from xai import tables
from xai.dataset import codes, voc_rows, voc_xml
from xai.dataset.photos import is_photo, is_unicode, printable, refuse_folder, relative, siblings, walk
from xai.dataset.text import content, decoded
from xai.exceptions import ConfigError, DataError
from xai.types import Dataset


def read(path: Path, *, role: str, split: str | None = None, photos: Path | None = None) -> Dataset:
    """Read a PASCAL VOC folder.

    Args:
        path: the folder that holds ``Annotations`` and ``JPEGImages``; sub-folders of these are read too.
        role: what the tables call the split.
        split: name of a list in ``ImageSets/Main``; all photos if left out.
        photos: not for this format.

    Returns:
        The data set; ``image_id`` is like ``JPEGImages/000004.jpg``. Labels also carry ``file_width`` and
        ``file_height`` (the size that the XML states, null where it states none) and every other leaf of ``<object>``
        as ``label_*`` (``label_pose``, ``label_truncated``), ``Unspecified`` being null.

    Raises:
        ConfigError: the folder or the split's list is not there, or ``photos`` is given.
        DataError: no photo is left that has an annotation.
    """
    refuse_folder(photos, "voc")
    root = _root(path)
    found, issues = _pair(root, role)
    if split is not None:
        found, issues = _select(found, issues, root, split, role)
    image_ids: list[str] = []
    rows: list[dict[str, object]] = []
    for image_id, xml_file in sorted(found.items()):
        file = relative(xml_file, root)
        try:
            annotation = voc_xml.parse(content(xml_file, root))
        except (voc_xml.AnnotationError, OSError) as error:
            message = f"expected a VOC annotation, but {error}; the photo is left out"
            issues.append(codes.issue("unreadable_label_file", message, split=role, image_id=image_id, file=file))
            continue
        image_ids.append(image_id)
        rows += voc_rows.texts(image_id, file, annotation)
    if not image_ids:
        raise DataError(
            f"{root}: expected photos in JPEGImages with an XML file of the same name in Annotations, found no pair"
            + (f" ({len(issues)} problems, first: {issues[0]['message']})" if issues else "")
        )
    labels, rejected = voc_rows.labels(rows, role)
    names = tuple(sorted(labels["label"].unique().to_list()))
    every = tables.stack([codes.table(issues), rejected], tables.ISSUES)
    files = tuple(relative(xml_file, root) for xml_file in found.values())
    return Dataset(role, root, tuple(image_ids), labels, every, names, label_files=files)


def _root(path: Path) -> Path:
    """Check that the folder is a VOC folder, and say what to name instead where it is not."""
    if not path.is_dir():
        raise ConfigError(f"expected a PASCAL VOC folder at {path}, which is not there")
    missing = [name for name in ("Annotations", "JPEGImages") if not (path / name).is_dir()]
    if missing:
        inner = sorted(child.parent for child in path.glob("*/Annotations")) or sorted(
            child.parent for child in path.glob("*/*/Annotations")
        )
        hint = f"; name {inner[0]} instead" if inner else f"; it holds {siblings(path)}"
        raise ConfigError(
            f"{path}: expected the folders Annotations and JPEGImages, lacks {' and '.join(missing)}{hint}"
        )
    return Path(os.path.abspath(path))


def _pair(root: Path, role: str) -> tuple[dict[str, Path], list[codes.Row]]:
    """Pair photos with annotations by their name without ending; what stays alone is an issue."""
    issues: list[codes.Row] = []
    by_stem: dict[str, list[str]] = defaultdict(list)
    xml_files: dict[str, Path] = {}
    for folder in ("JPEGImages", "Annotations"):
        for file in walk(root / folder):
            name = file.relative_to(root / folder)
            if not is_unicode(str(name)):
                shown = f"{folder}/{printable(str(name))}"
                issues.append(codes.issue("path_not_unicode", f"{shown} is left out", split=role, file=shown))
            elif folder == "Annotations" and file.suffix.lower() == ".xml":
                xml_files[name.with_suffix("").as_posix()] = file
            elif folder == "JPEGImages" and is_photo(file):
                by_stem[name.with_suffix("").as_posix()].append(f"{folder}/{name.as_posix()}")
    found: dict[str, Path] = {}
    for stem, image_ids in by_stem.items():
        # Two photos may share a name (a.jpg, a.png): the annotation belongs to the first.
        first, *others = sorted(image_ids)
        if stem in xml_files:
            found[first] = xml_files[stem]
        else:
            others = image_ids
        issues += [
            codes.issue(
                "photo_without_label",
                f"expected Annotations/{stem}.xml of its own; the photo is left out",
                split=role,
                image_id=image_id,
            )
            for image_id in sorted(others)
        ]
    issues += [
        codes.issue(
            "label_without_photo",
            f"expected a photo JPEGImages/{stem}.jpg, found none",
            split=role,
            file=relative(xml_files[stem], root),
        )
        for stem in sorted(set(xml_files) - set(by_stem))
    ]
    return found, issues


def _select(
    found: Mapping[str, Path], issues: Sequence[codes.Row], root: Path, split: str, role: str
) -> tuple[dict[str, Path], list[codes.Row]]:
    """Keep what ``ImageSets/Main/SPLIT.txt`` lists; names in it are looked up, never opened as paths."""
    listing = root / "ImageSets" / "Main" / f"{split}.txt"
    if not listing.is_file():
        raise ConfigError(
            f"expected the split {split!r} as {listing}, which is not there; "
            f"ImageSets/Main holds {siblings(listing.parent)}"
        )
    file = relative(listing, root)
    by_stem = {_stem(image_id): image_id for image_id in found}
    alone = {_stem(row["image_id"]) for row in issues if row["code"] == "photo_without_label"}
    chosen: dict[str, Path] = {}
    kept: list[codes.Row] = []
    listed: set[str] = set()
    for line, text in enumerate(decoded(listing.read_bytes()).splitlines(), start=1):
        stem = _listed(text, by_stem)
        at = {"split": role, "file": file}
        if not stem:
            continue
        if stem in listed:
            kept.append(codes.issue("listed_twice", f"{stem} is listed before", **at) | {"line": line})
        elif stem in by_stem:
            chosen[by_stem[stem]] = found[by_stem[stem]]
        elif stem not in alone:
            message = f"expected JPEGImages/{stem}.jpg with Annotations/{stem}.xml, found no pair"
            kept.append(codes.issue("photo_missing", message, **at | {"image_id": f"JPEGImages/{stem}.jpg"}))
        listed.add(stem)
    about = [row for row in issues if _stem(row["image_id"] or row["file"]) in listed]
    return chosen, about + kept


def _stem(path: str) -> str:
    """``JPEGImages/a/b.jpg`` → ``a/b``."""
    return PurePosixPath(*PurePosixPath(path).parts[1:]).with_suffix("").as_posix()


def _listed(text: str, known: Iterable[str]) -> str:
    """Return the photo that a line of a split names; lists of one class add -1, 0 or 1 behind it."""
    name = text.strip()
    if name in known:
        return name
    head, _, flag = name.rpartition(" ")
    return head.strip() if flag in {"-1", "0", "1"} else name
