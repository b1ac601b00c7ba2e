"""Photos that lie where fsspec reaches: ``s3://``, ``gs://``, ``https://``, ``memory://`` and others.

A URL is written as a path here, ``s3:/bucket/photos`` for ``s3://bucket/photos``: it is joined and compared like any
other, and only what reads bytes asks whether it is one. Credentials come from where the store's own library takes them
(environment, files in the home folder, the machine's role), never from the URL.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

READERS = 32
"""Photos that are asked for at once: what a store takes to answer is not what it takes to send."""

PAUSES = (1.0, 4.0)
"""Seconds before a store that did not answer is asked again."""

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}([^/].*)", re.DOTALL)
_FILE = "file:///"

_CHANGES = ("ETag", "etag", "md5Hash", "content_md5", "checksum", "LastModified", "last_modified", "Last-Modified")
_TIMES = ("mtime", "updated", "created")
"""What stores call that which is another once a file has changed, the surest first."""

_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
"""Answers of a store, as against none."""


class StoreError(Exception):
    """A store that cannot be asked, or does not answer: nothing is known of its photos."""


def place(url: str) -> Path:
    """Return a URL as a path; ``file://`` as the path that it is.

    >>> place("s3://bucket/photos/").as_posix()
    's3:/bucket/photos'
    >>> place("file:///data/photos").as_posix()
    '/data/photos'

    Raises:
        ValueError: no URL, or one that cannot be written so.
    """
    if url.startswith(_FILE):
        return Path(url.removeprefix(_FILE[:-1]))
    match = _URL.fullmatch(url)
    if match is None or match[1] == "file":
        raise ValueError(f"expected a URL such as s3://bucket/photos or file:///photos, got {url[:200]!r}")
    protocol, rest = match.groups()
    host = rest.partition("/")[0]
    if ":" in host.rpartition("@")[0]:
        raise ValueError("expected a URL without user and password; they belong into the environment")
    if "::" in url or ".." in rest.split("/") or set(rest) & set("?#\0"):
        raise ValueError(f"expected a URL of plain folders, without '::', '..', '?' and '#', got {url[:200]!r}")
    return Path(f"{protocol}:/{rest}")


def address(path: Path) -> str | None:
    """Return the URL that a path stands for, None for a path on this machine.

    >>> address(Path("s3:/bucket/a.jpg"))
    's3://bucket/a.jpg'
    """
    match = _URL.fullmatch(path.as_posix())
    return f"{match[1]}://{match[2]}" if match else None


def content(path: Path, most: int) -> bytes | int:
    """Return a file's bytes, or its size where that is over ``most``.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        StoreError: the store did not answer, three times, or does not let us in: then credentials may have run out.
    """
    url = _address(path)
    system, name = _system(url)

    def fetch() -> bytes | int:
        size = system.info(name).get("size")
        if size is not None and size > most:
            return int(size)
        data: bytes = system.cat_file(name)
        return data if len(data) <= most else len(data)

    return _patiently(fetch, url)


def listing(folder: Path, *, again: bool = False) -> Mapping[str, str]:
    """Return the files under a folder, with subfolders: name relative to it → what changes with its content.

    Args:
        folder: of a URL.
        again: ask the store; else what it last told this process is taken.

    Raises:
        FileNotFoundError: there is no such folder.
        StoreError: the store did not answer, three times, or does not let us in.
    """
    url = _address(folder)
    if again or url not in _LISTED:
        _LISTED.clear()  # of a long list there is room for one
        system, root = _system(url)
        _LISTED[url] = _patiently(lambda: _listing(system, root), url)
    return _LISTED[url]


_LISTED: dict[str, dict[str, str]] = {}


def _listing(system: Any, root: str) -> dict[str, str]:
    system.invalidate_cache()
    start = root.rstrip("/") + "/"
    found: dict[str, Any] = system.find(root, detail=True)
    inside = {name: told for name, told in found.items() if name.startswith(start)}
    silent = [name for name, told in inside.items() if _stamp(told) is None]
    if silent:  # a web server lists names alone
        with ThreadPoolExecutor(max_workers=READERS) as pool:
            inside.update(zip(silent, pool.map(system.info, silent), strict=True))
    return {name.removeprefix(start): _stamp(told) or f"{told.get('size')}" for name, told in inside.items()}


def _stamp(told: Mapping[str, Any]) -> str | None:
    known = next((told[key] for key in (*_CHANGES, *_TIMES) if told.get(key) is not None), None)
    return None if known is None else f"{told.get('size')} {known}"


def _address(path: Path) -> str:
    url = address(path)
    if url is None:
        raise ValueError(f"expected the path of a URL, got {path}")
    return url


def _system(url: str) -> tuple[Any, str]:
    """Return the store of a URL and what the store calls it."""
    protocol, _, rest = url.partition("://")
    store = _store(f"{protocol}://{rest.partition('/')[0]}", os.getpid())
    return store, str(store._strip_protocol(url))


@lru_cache
def _store(start: str, process: int) -> Any:
    """Return a store; fsspec would open one, with its connections, for each thread."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(start)[0]
    except ImportError as error:
        protocol = start.partition("://")[0]
        raise StoreError(f"expected what reads {protocol}://, which is not installed: {error}") from error
    except ValueError as error:
        raise StoreError(f"expected a URL that fsspec knows, got {start}: {error}") from error


def _patiently(ask: Callable[[], Result], url: str) -> Result:
    """Ask, and ask again where no answer comes: a photo is not damaged because a store is busy."""
    for pause in (*PAUSES, None):
        try:
            return ask()
        except _ABSENT:
            raise
        except PermissionError as error:
            raise StoreError(f"expected to be let in at {url}, check the credentials: {error}") from error
        except Exception as error:  # every store's library has errors of its own
            if pause is None:
                raise StoreError(f"expected an answer for {url}, asked {len(PAUSES) + 1} times: {error!r}") from error
            time.sleep(pause)
    raise AssertionError("unreachable")
