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

import polars as pl

from xai import tables
from xai.dataset import codes, voc_xml
from xai.dataset.columns import FLAGS, typed
from xai.dataset.photos import is_photo, is_unicode, printable, refuse_folder, relative, siblings, walk
from xai.dataset.text import decoded
from xai.exceptions import ConfigError, DataError
from xai.types import Dataset

CORNERS = ("xmin", "ymin", "xmax", "ymax")
_OWN_COLUMN = frozenset({"name", "difficult", "bndbox", "part"})


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
            annotation = voc_xml.parse(xml_file.read_bytes())
        except (voc_xml.AnnotationError, OSError) as error:
            message = f"expected a VOC annotation, but {error}; the photo is left out"
            issues.append(codes.issue("unreadable_label_file", message, split=role, image_id=image_id, file=file))
            continue
        image_ids.append(image_id)
        rows += _texts(image_id, file, annotation)
    if not image_ids:
        raise DataError(
            f"{root}: expected photos in JPEGImages with an XML file of the same name in Annotations, found no pair"
            + (f" ({len(issues)} problems, first: {issues[0]['message']})" if issues else "")
        )
    labels, rejected = _labels(rows, role)
    names = tuple(sorted(labels["label"].unique().to_list()))
    return Dataset(
        role, root, tuple(image_ids), labels, tables.stack([codes.table(issues), rejected], tables.ISSUES), names
    )


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


def _texts(image_id: str, file: str, annotation: voc_xml.Annotation) -> list[dict[str, object]]:
    """Return the objects of a file as rows of text, nothing judged yet."""
    shared = {"image_id": image_id, "file": file}
    size = {f"file_{side}": annotation.size.get(side) for side in ("width", "height")}
    return [
        {
            **shared,
            **size,
            "object_id": number,
            "line": item.line,
            "boxes": max(item.boxes, item.names),
            "label": item.fields.get("name"),
            "difficult": item.fields.get("difficult"),
            **{corner: item.corners.get(corner) for corner in CORNERS},
            **{f"label_{name}": text for name, text in item.fields.items() if name not in _OWN_COLUMN},
        }
        for number, item in enumerate(annotation.objects)
    ]


_ROW: tables.Schema = {
    "image_id": pl.String,
    "file": pl.String,
    "file_width": pl.String,
    "file_height": pl.String,
    "object_id": pl.Int64,
    "line": pl.Int64,
    "boxes": pl.Int64,
    "label": pl.String,
    "difficult": pl.String,
    **dict.fromkeys(CORNERS, pl.String),
}


def _labels(rows: Sequence[Mapping[str, object]], split: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Turn texts into labels; return them and the issues of the rows that are no labels."""
    own = sorted({name for row in rows for name in row if name.startswith("label_")})
    raw = pl.DataFrame(rows, schema={**_ROW, **dict.fromkeys(own, pl.String)})
    judged = _judge(raw.with_columns(pl.col("label").replace("", None)))
    flag = pl.col("difficult").str.to_lowercase().replace_strict(FLAGS, default=None, return_dtype=pl.Boolean)
    good = judged.filter(pl.col("code").is_null()).with_columns(flag=flag)
    unclear = good.filter(pl.col("difficult").is_not_null() & pl.col("flag").is_null()).with_columns(
        code=pl.lit("unclear_flag"),
        message=pl.format("expected 0 or 1 in <difficult>, got '{}'; the object is scored", _short("difficult")),
    )
    labels = good.with_columns(
        x1=pl.col("xmin") - 1,
        y1=pl.col("ymin") - 1,
        x2=pl.col("xmax"),
        y2=pl.col("ymax"),
        normalised=pl.lit(False),
        ignore=pl.when("flag").then(pl.lit("difficult")),
        file_width=_stated("file_width"),
        file_height=_stated("file_height"),
    )
    labels = labels.with_columns(typed(labels[name]) for name in own).drop(
        "code", "message", "flag", "difficult", "boxes", *CORNERS
    )
    issues = pl.concat(
        [codes.from_labels(judged.with_columns(object_id=None), split=split), codes.from_labels(unclear, split=split)]
    )
    return tables.conform(labels, tables.LABELS).sort("image_id", "object_id"), issues


def _stated(side: str) -> pl.Expr:
    """Return a side of the photo in pixels as the file states it; null where it states none (0 is written for that)."""
    number = pl.col(side).cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    return pl.when(number > 0).then(number)


def _short(column: str) -> pl.Expr:
    return pl.col(column).fill_null("nothing").str.slice(0, 60)


def _judge(raw: pl.DataFrame) -> pl.DataFrame:
    """Cast the corners to numbers and add ``code`` and ``message``, null where the row is a label."""
    numbers = [pl.col(corner).cast(pl.Float64, strict=False).alias(f"{corner}_") for corner in CORNERS]
    cast = raw.with_columns(numbers)
    texts = [pl.col(corner) for corner in CORNERS]
    values = [pl.col(f"{corner}_") for corner in CORNERS]
    largest = pl.max_horizontal(values)
    code = (
        pl.when(pl.col("label").is_null() | pl.any_horizontal([text.is_null() for text in texts]))
        .then(pl.lit("missing_field"))
        .when(pl.col("boxes") > 1)
        .then(pl.lit("wrong_field_count"))
        .when(pl.any_horizontal([value.is_null() for value in values]))
        .then(pl.lit("not_a_number"))
        .when(pl.any_horizontal([~value.is_finite() for value in values]))
        .then(pl.lit("not_finite"))
        # Box corners within the first pixel that are not whole can only be fractions of the photo.
        .when((largest <= 1) & pl.any_horizontal([value != value.round() for value in values]))
        .then(pl.lit("normalised_pixel_mixup"))
    )
    got = pl.format("name '{}', box {} {} {} {}", _short("label"), *[_short(corner) for corner in CORNERS])
    message = pl.format(
        "expected one <name> and one <bndbox> with xmin ymin xmax ymax in pixels, got {}; not used", got
    )
    return (
        cast.with_columns(code=code)
        .with_columns(message=pl.when(pl.col("code").is_not_null()).then(message))
        .with_columns(value.alias(corner) for value, corner in zip(values, CORNERS, strict=True))
        .drop([f"{corner}_" for corner in CORNERS])
    )
