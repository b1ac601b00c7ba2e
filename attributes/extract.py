"""Photos → attributes: arrays for a batch, tables for a folder."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from attributes import links, remote
from attributes.arrays import Boxes, Floats, Pixels
from attributes.catalog import ATTRIBUTES, Attribute
from attributes.decode import DecodeError, read
from attributes.kept import Parts, stamp
from attributes.reduced import Reduced
from attributes.views import Views

if TYPE_CHECKING:
    import polars as pl

    from attributes.workers import Row

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_SIZE = 16
"""Photos measured together. A constant, so that values do not depend on the number of workers."""

_ROWS_APART = 1000
"""Photos of a part of the table and of what is tagged while it is written, together: so many are tagged again at most
after a kill, with up to 15 workers. Small frames take several times the memory of their rows, and lie between what
could be given back."""

_EACH = 128
"""Photos from which a process has so much to do that starting it, some 0.25 s of a core, pays."""

DEVICE_BATCH_SIZE = 64
"""The same on a GPU, where each step costs as much for one photo as for many."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib"}
    | {".gif", ".ppm", ".pgm", ".pnm", ".jp2", ".heic", ".heif", ".avif", ".dng"}
)
"""Files of a folder with these endings are taken for photos. Those of the second row cannot be decoded: they are then
reported, not overlooked."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Attributes of a batch; NaN where one cannot be told.

    Attributes:
        images: image attribute → (B,) float64.
        objects: object attribute → (N,) float64, the objects of all photos, photo after photo.
    """

    images: dict[str, Floats]
    objects: dict[str, Floats]


def measure(
    photos: Sequence[Pixels],
    boxes: Sequence[Boxes] | None = None,
    *,
    focal_px: Sequence[float | None] | None = None,
    names: Collection[str] | None = None,
    device: str | None = None,
) -> Measured:
    """Measure attributes of photos and of the objects in them.

    Thread-safe. Values of a photo do not depend on the others in the batch.

    Args:
        photos: B arrays H×W×3 uint8 RGB in the displayed frame, of any sizes.
        boxes: per photo (n, 4) ``x1 y1 x2 y2`` in its pixels; None measures photos only.
        focal_px: per photo the focal length in its pixels, None where unknown; makes ``pitch`` more exact.
        names: of the attributes to measure; None measures all.
        device: torch device for the photometric attributes, as ``cuda``: values differ by at most 1e-3. None asks no
            torch, and is the faster choice on a CPU.

    Raises:
        ValueError: a photo, its boxes or its focal length have another shape or make no sense, or there is no attribute
            of one of the names.
    """
    return _measure(Views(photos, boxes, focal_px), _named(names), device)


def _measure(views: Views, wanted: Sequence[Attribute], device: str | None) -> Measured:
    values = {} if device is None else _on_device(views.photos, wanted, device)
    values |= {attribute.name: attribute.function(views) for attribute in wanted if attribute.name not in values}
    return Measured(
        images={attribute.name: values[attribute.name] for attribute in wanted if attribute.level == "image"},
        objects={attribute.name: values[attribute.name] for attribute in wanted if attribute.level == "object"},
    )


def tag(
    photos: Path | Sequence[Path],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    names: Collection[str] | None = None,
    device: str | None = None,
    keep: Path | None = None,
) -> pl.DataFrame:
    r"""Measure the image attributes of a folder's photos, or of the files named.

    Memory holds a photo and a batch of reduced ones for each worker (on a device a batch), however many there are.

    Args:
        photos: a folder, searched with its subfolders for ``SUFFIXES``; a file; or paths.
        workers: processes that tag side by side, each with some 60 MB of its own; threads where each would have under
            128 photos to tag, where ``device`` is given and where photos come from a URL. Default: the number of
            processors.
        progress: told (done, total) after each batch.
        names: of the image attributes to measure; None measures all.
        device: as for ``measure``. Files are decoded on the CPU all the same, which tells the damaged ones.
        keep: a folder for finished parts of the table, some thousand photos each; what lies in it of the same photos is
            taken. The caller removes it (``kept.remove``). None keeps nothing.

    Returns:
        One row per photo, sorted by path: ``image_id`` (relative to the folder, or as given; bytes of a name that are
        no UTF-8 are written as ``\xff``) ``status width height exif_orientation captured_at camera focal_length
        sha256`` and the image attributes, null where unknown.
        ``status`` is ``ok``, the code of ``DecodeError``, or ``photo_crashes`` for one that ended its process twice.

    Raises:
        FileNotFoundError: there is nothing at the path.
        ValueError: there is no image attribute of one of the names.
        RuntimeError: a process cannot be started, or one after the other ends: no photo is the reason.
        StoreError: a store that photos come from does not answer.
    """
    import polars as pl

    from attributes import workers as processes

    wanted = _named(names, level="image")
    columns = [attribute.name for attribute in wanted]
    root, image_ids = _find(photos)
    count = workers or os.cpu_count() or 1
    size = BATCH_SIZE if device is None else DEVICE_BATCH_SIZE
    schema = _schema(columns)
    parts = Parts(keep, stamp([*columns, str(device)], root, image_ids)) if keep is not None else None
    frames = [pl.DataFrame(schema=schema), *(parts.read() if parts else [])]
    rows: list[Row] = []
    part = max(_ROWS_APART - 2 * count * size, _ROWS_APART // 2)
    done = sum(map(len, frames))
    batches = (image_ids[start : start + size] for start in range(done, len(image_ids), size))
    # Photos of a store are waited for, which threads do as well; and another process may not know the store.
    far = any(remote.address(root / name) for name in image_ids[:1])
    apart = device is None and not far and processes.possible() and count > 1 and len(image_ids) >= count * _EACH
    tagging = processes.workers(count) if apart else nullcontext(partial(tag_batch, device=device))
    with tagging as tag_some, ThreadPoolExecutor(max_workers=count) as pool:
        try:
            work = partial(_tag_held, partial(tag_some, str(root), columns), root if _is_folder(photos) else None)
            for told in in_order(pool, work, batches, ahead=2 * count):
                rows += told
                if len(rows) + size > part:  # with the next batch it would be too much
                    frames.append(pl.DataFrame(rows, schema=schema, orient="row"))
                    rows = []
                    if parts is not None:
                        parts.add(frames[-1])
                done += len(told)
                if progress is not None:
                    progress(done, len(image_ids))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    frames.append(pl.DataFrame(rows, schema=schema, orient="row"))
    return pl.concat(frames)


def _on_device(photos: Sequence[Pixels], wanted: Sequence[Attribute], device: str) -> dict[str, Floats]:
    """Those of the wanted attributes that are told on tensors."""
    from attributes.tensors.measure import PHOTOMETRIC, photometric_with_room

    names = [attribute.name for attribute in wanted if attribute.name in PHOTOMETRIC]
    return photometric_with_room(photos, device, names)


def _named(names: Collection[str] | None, level: str | None = None) -> list[Attribute]:
    """The attributes of the names, or all, in the order of the catalog."""
    known = {name: attribute for name, attribute in ATTRIBUTES.items() if level in (None, attribute.level)}
    if names is None:
        return [*known.values()]
    # A string is a collection of its letters.
    unknown = [names] if isinstance(names, str) else [name for name in names if name not in known]
    if unknown:
        what = "attributes" if level is None else f"{level} attributes"
        raise ValueError(f"expected names of {what}, got {', '.join(map(repr, unknown))}; there are {', '.join(known)}")
    return [attribute for name, attribute in known.items() if name in names]


def _schema(columns: Sequence[str]) -> dict[str, pl.DataType | type[pl.DataType]]:
    import polars as pl

    return {
        "image_id": pl.String,
        "status": pl.String,
        "width": pl.Int64,
        "height": pl.Int64,
        "exif_orientation": pl.Int64,
        "captured_at": pl.String,
        "camera": pl.String,
        "focal_length": pl.Float64,
        "sha256": pl.String,
        **dict.fromkeys(columns, pl.Float64),
    }


def _find(photos: Path | Sequence[Path]) -> tuple[Path, list[str]]:
    """Folder and sorted names of the photos in it; paths would take several times the memory."""
    if not isinstance(photos, Path | str):
        return Path(), sorted(Path(path).as_posix() for path in photos)
    root = Path(photos)
    if remote.address(root):
        return root, sorted(name for name in remote.listing(root, again=True) if Path(name).suffix.lower() in SUFFIXES)
    if root.is_dir():
        return root, sorted(_names_in(root))
    if not root.exists():
        raise FileNotFoundError(f"expected a photo or a folder of photos, found nothing at {root}")
    return root.parent, [root.name]


def _names_in(root: Path) -> Iterator[str]:
    """Photos in a folder and those below it; ``Path.rglob`` keeps every path until it ends."""
    for folder, folders, files in os.walk(root):
        for name in (*files, *folders):
            path = os.path.join(folder, name)
            # A link to nothing is a photo that is missing, not none.
            if os.path.splitext(name)[1].lower() in SUFFIXES and (os.path.isfile(path) or os.path.islink(path)):
                yield Path(os.path.relpath(path, root)).as_posix()


def _is_folder(photos: Path | Sequence[Path]) -> bool:
    return isinstance(photos, Path | str) and not remote.address(Path(photos)) and Path(photos).is_dir()


def _tag_held(tag_some: Callable[[Sequence[str]], list[Row]], root: Path | None, batch: Sequence[str]) -> list[Row]:
    """Tag the photos of a folder; of those that a link leads out to nothing but that is told."""
    out = {name for name in batch if root is not None and links.leaves(root / name, root)}
    told = iter(tag_some([name for name in batch if name not in out]))
    return [{"image_id": _shown(name), "status": links.CODE} if name in out else next(told) for name in batch]


def _shown(name: str) -> str:
    """A path as text; bytes that are no UTF-8 are written out."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def tag_batch(root: str, names: Sequence[str], batch: Sequence[str], device: str | None = None) -> list[Row]:
    """Read and measure some photos.

    Args:
        root: folder of the photos.
        names: of the image attributes to measure.
        batch: paths of the photos in the folder.
        device: as for ``tag``.

    Returns:
        A row for each photo, of the columns of ``tag`` that can be told.
    """
    wanted = _named(names, level="image")
    rows: list[Row] = []
    read_rows: list[Row] = []
    reduced: list[Reduced] = []
    focal_px: list[float | None] = []
    for name in batch:
        row: Row = {"image_id": _shown(name)}
        rows.append(row)
        try:
            photo = read(Path(root) / name)
        except DecodeError as error:
            row["status"] = error.code
            continue
        row.update(
            status="ok",
            width=photo.width,
            height=photo.height,
            exif_orientation=photo.exif_orientation,
            captured_at=photo.captured_at,
            camera=photo.camera,
            focal_length=photo.focal_length,
            sha256=photo.sha256,
        )
        read_rows.append(row)
        focal_px.append(photo.focal_px)
        reduced.append(Reduced(photo.pixels))
        if device is None:
            reduced[-1].release()
        del photo  # its pixels, which nothing else holds
    measured = _measure(Views(reduced, focal_px=focal_px), wanted, device)
    for name, values in measured.images.items():
        for row, value in zip(read_rows, values.tolist(), strict=True):
            row[name] = None if math.isnan(value) else value
    return rows


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], *, ahead: int
) -> Iterator[Result]:
    """Results in the order of the items, with at most ``ahead`` of them in flight."""
    pending: deque[Future[Result]] = deque()
    for item in items:
        pending.append(pool.submit(work, item))
        if len(pending) >= ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
