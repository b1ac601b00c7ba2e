"""Text files of any system."""

from __future__ import annotations

import codecs
import errno
import os
from pathlib import Path

from attributes import links


def content(path: Path, root: Path) -> bytes:
    """Return the bytes of a file in a data set's folder.

    Raises:
        OSError: there is no such file, it cannot be read, it is a pipe or a device, which might never end, or a link
            leads to it that leaves the folder.
    """
    # Labels may lie beside the folder of the photos, which is no matter of links.
    if links.leaves(path, Path(os.path.commonpath([os.path.abspath(path), os.path.abspath(root)]))):
        raise OSError(errno.EPERM, links.MESSAGE, os.fspath(path))
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))
    return path.read_bytes()


def decoded(content: bytes) -> str:
    r"""Return a file's text: UTF-8 with or without a byte order mark, or UTF-16 with one; other bytes are replaced.

    >>> decoded("ü".encode("utf-16")), decoded(b"\xef\xbb\xbfa"), decoded(b"\xfc")
    ('ü', 'a', '�')
    """
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf16 else "utf-8-sig", "replace")
