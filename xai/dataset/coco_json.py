"""The three lists of a COCO file, element by element: polygons and masks of a large file never fill the memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ijson

from xai.exceptions import DataError

SECTIONS = ("images", "annotations", "categories")

Event = tuple[str, Any]

_OPENS = frozenset({"start_map", "start_array"})
_CLOSES = frozenset({"end_map", "end_array"})
_BUFFER = 1 << 20


def elements(file: Path) -> Iterator[tuple[str, Any]]:
    """Yield each element of the lists ``images``, ``annotations`` and ``categories``, in the order of the file.

    The file is read as a stream. What that refuses and Python's own writer produces (NaN, Infinity, numbers beyond 64
    bits, text that is not UTF-8) is read again as a whole.

    Args:
        file: the JSON file.

    Yields:
        The list's name and the element: a scalar, or a dictionary or list whose nested values may be None.

    Raises:
        DataError: the file cannot be read, is no JSON, or lacks one of the lists; damage is named by its position.
    """
    done = dict.fromkeys(SECTIONS, 0)
    try:
        with file.open("rb") as stream:
            for section, element in _streamed(ijson.basic_parse(stream, use_float=True, buf_size=_BUFFER), file):
                done[section] += 1
                yield section, element
        return
    except OSError as error:
        raise DataError(f"expected a readable COCO file at {file}: {error.strerror}") from error
    except ijson.JSONError:
        document = _whole(file)
    for section in SECTIONS:
        yield from ((section, element) for element in document[section][done[section] :])


def _whole(file: Path) -> dict[str, list[Any]]:
    try:
        document = json.loads(file.read_bytes(), object_hook=_without_masks)
    except (ValueError, RecursionError) as error:
        raise DataError(f"expected JSON in {file}: {error}; export the file again") from error
    if not isinstance(document, dict):
        raise _not_coco(file, "list" if isinstance(document, list) else type(document).__name__)
    for section in SECTIONS:
        if section in document and not isinstance(document[section], list):
            raise _not_a_list(file, section)
    _check_complete(file, set(document))
    return document


def _without_masks(item: dict[str, Any]) -> dict[str, Any]:
    item.pop("segmentation", None)
    return item


def _streamed(events: Iterator[Event], file: Path) -> Iterator[tuple[str, Any]]:
    event, value = next(events)
    if event != "start_map":
        raise _not_coco(file, "list" if event == "start_array" else event)
    seen: set[str] = set()
    for event, value in events:
        if event != "map_key":
            break
        section, (event, _) = value, next(events)
        seen.add(section)
        if section not in SECTIONS:
            _skip(event, events)
        elif event != "start_array":
            raise _not_a_list(file, section)
        else:
            for event, value in events:
                if event == "end_array":
                    break
                yield section, _element(event, value, events)
    for _ in events:  # what follows the object is an error that the parser raises here
        pass
    _check_complete(file, seen)


def _element(event: str, value: Any, events: Iterator[Event]) -> Any:
    """Build a value of at most two levels: the scalars of an annotation, of its ``bbox`` and of its ``attributes``."""
    if event == "start_map":
        return {key: _flat(*next(events), events) for event, key in iter(lambda: next(events), ("end_map", None))}
    return _flat(event, value, events)


def _flat(event: str, value: Any, events: Iterator[Event]) -> Any:
    """Build a value of one level; what is nested deeper is None."""
    if event not in _OPENS:
        return value
    if event == "start_array":
        return [_scalar(*inner, events) for inner in iter(lambda: next(events), ("end_array", None))]
    return {key: _scalar(*next(events), events) for _, key in iter(lambda: next(events), ("end_map", None))}


def _scalar(event: str, value: Any, events: Iterator[Event]) -> Any:
    _skip(event, events)
    return value


def _skip(event: str, events: Iterator[Event]) -> None:
    """Pass over a value without building it, however deep it is."""
    depth = int(event in _OPENS)
    while depth:
        event, _ = next(events)
        depth += (event in _OPENS) - (event in _CLOSES)


def _check_complete(file: Path, seen: set[str]) -> None:
    missing = [section for section in SECTIONS if section not in seen]
    if missing:
        there = ", ".join(sorted(seen)[:8]) or "nothing"
        raise DataError(
            f"{file}: expected the lists images, annotations and categories, lacks {missing[0]}; has {there}"
        )


def _not_a_list(file: Path, section: str) -> DataError:
    return DataError(f"{file}: expected {section!r} to be a list; export the file again")


def _not_coco(file: Path, kind: str) -> DataError:
    return DataError(
        f"{file}: expected an object with images, annotations and categories, got a {kind}"
        + (" (a results file holds detections, not labels)" if kind == "list" else "")
    )
