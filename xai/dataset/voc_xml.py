"""The XML of a PASCAL VOC annotation as texts: all that is judged here is whether it is an annotation."""

from __future__ import annotations

import xml.parsers.expat
from collections.abc import Mapping
from dataclasses import dataclass, field

_DEPTH = 4  # annotation / object / bndbox / xmin


class AnnotationError(Exception):
    """The file is not a VOC annotation; the message is the end of a sentence that begins with "expected one, but"."""


@dataclass(slots=True)
class Object:
    """One ``<object>``, in texts.

    Attributes:
        line: where it begins, counted from 1.
        fields: its children that hold text only; of repeated ones the first.
        corners: the children of ``<bndbox>``.
        boxes: how many ``<bndbox>`` it has.
        names: how many ``<name>``.
    """

    line: int
    fields: dict[str, str] = field(default_factory=dict)
    corners: dict[str, str] = field(default_factory=dict)
    boxes: int = 0
    names: int = 0


@dataclass(slots=True)
class Annotation:
    """One file: the stated size of the photo (``width``, ``height``, in texts) and its objects in their order."""

    size: dict[str, str] = field(default_factory=dict)
    objects: list[Object] = field(default_factory=list)


def parse(content: bytes) -> Annotation:
    """Read an annotation.

    Document type declarations are refused: they are the way to entity expansion, and no annotation needs one.

    Raises:
        AnnotationError: the bytes are no well-formed XML with the root ``<annotation>``.
    """
    expat = xml.parsers.expat.ParserCreate()
    expat.buffer_text = True
    collector = _Collector(expat)
    expat.StartDoctypeDeclHandler = collector.doctype
    expat.StartElementHandler = collector.start
    expat.EndElementHandler = collector.end
    expat.CharacterDataHandler = collector.text.append
    try:
        expat.Parse(content, True)
    except xml.parsers.expat.ExpatError as error:
        raise AnnotationError(f"it is no well-formed XML: {error}") from error
    except (LookupError, ValueError) as error:  # encodings that Python or expat do not know
        raise AnnotationError(f"its encoding is not readable: {error}") from error
    return collector.annotation


class _Collector:
    """What expat has seen so far."""

    def __init__(self, expat: xml.parsers.expat.XMLParserType) -> None:
        self.annotation = Annotation()
        self.text: list[str] = []
        self._expat = expat
        self._path: list[str] = []
        self._leaf = False

    def doctype(self, *_: object) -> None:
        raise AnnotationError("it declares a document type (DOCTYPE), which annotations do not need")

    def start(self, tag: str, _: Mapping[str, str]) -> None:
        tag = _local(tag)
        if not self._path and tag != "annotation":
            raise AnnotationError(f"its root is <{tag[:60]}>, not <annotation>")
        self._path.append(tag)
        if len(self._path) == 2 and tag == "object":
            self.annotation.objects.append(Object(self._expat.CurrentLineNumber))
        if len(self._path) == 3 and self._path[1:] == ["object", "bndbox"]:
            self.annotation.objects[-1].boxes += 1
        if len(self._path) == 3 and self._path[1:] == ["object", "name"]:
            self.annotation.objects[-1].names += 1
        self.text.clear()
        self._leaf = True

    def end(self, tag: str) -> None:
        tag = _local(tag)
        parents = tuple(self._path[1:-1]) if self._leaf and len(self._path) <= _DEPTH else ()
        text = "".join(self.text).strip() if parents else ""
        if parents == ("size",):
            self.annotation.size.setdefault(tag, text)
        elif parents == ("object",):
            self.annotation.objects[-1].fields.setdefault(tag, text)
        elif parents == ("object", "bndbox"):
            self.annotation.objects[-1].corners.setdefault(tag, text)
        self._path.pop()
        self.text.clear()
        self._leaf = False


def _local(tag: str) -> str:
    """Return a tag without its namespace's prefix."""
    return tag.rpartition(":")[2]
