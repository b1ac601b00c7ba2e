"""Photos at a URL: as those on this machine, and a store that does not answer is no damaged photo."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

import attributes
from attributes import remote
from attributes.decode import DecodeError, read
from attributes.remote import StoreError, address, place


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.fixture
def photo(tmp_path: Path) -> bytes:
    pixels = np.random.default_rng(3).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return (tmp_path / "a.png").read_bytes()


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/a b/c", "abfs://box@account/x", "https://host:8080/x/y"])
def test_a_url_is_a_path_and_back(url: str) -> None:
    assert address(place(url)) == url
    assert address(pickle.loads(pickle.dumps(place(url) / "photo.jpg"))) == f"{url}/photo.jpg"


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "/data",
        "file://host/x",
        "ftp://me:secret@host/x",
        "s3://b/../c",
        "https://h/x?sig=1",
        "zip://a::s3://b/c",
    ],
)
def test_what_is_no_plain_url_is_refused_and_no_password_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="expected a URL") as caught:
        place(url)
    assert "secret" not in str(caught.value)


def test_paths_on_this_machine_are_no_urls(tmp_path: Path) -> None:
    assert place(tmp_path.as_uri()) == tmp_path
    assert [address(path) for path in (tmp_path, Path("a.jpg"), Path("C:/photos/a.jpg"), Path("a: b/c"))] == [None] * 4


def test_the_same_photo_here_and_there(tmp_path: Path, memory: fsspec.AbstractFileSystem, photo: bytes) -> None:
    memory.pipe("/set/in/a.png", photo)
    here, there = read(tmp_path / "a.png"), read(place("memory://set") / "in/a.png")
    assert there.sha256 == here.sha256
    np.testing.assert_array_equal(there.pixels, here.pixels)
    tagged = attributes.tag(place("memory://set"), workers=1)
    assert tagged["image_id"].to_list() == ["in/a.png"]
    assert tagged.drop("image_id").equals(attributes.tag(tmp_path, workers=1).drop("image_id"))


def test_missing_empty_and_huge_photos_are_told_as_those_here_are(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, photo: bytes
) -> None:
    memory.pipe({"/set/empty.png": b"", "/set/whole.png": photo})
    monkeypatch.setattr("attributes.decode._MAX_BYTES", len(photo) - 1)
    for name, code in (("gone.png", "photo_missing"), ("empty.png", "photo_empty"), ("whole.png", "photo_too_large")):
        with pytest.raises(DecodeError) as caught:
            read(place("memory://set") / name)
        assert caught.value.code == code


def test_what_changes_a_file_changes_its_stamp(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe({"/set/a.png": b"1", "/set/b/c.png": b"2", "/settle/d.png": b"3"})
    before = dict(remote.listing(place("memory://set"), again=True))
    assert before.keys() == {"a.png", "b/c.png"}
    memory.pipe("/set/a.png", b"4")
    assert remote.listing(place("memory://set")) == before, "what was told is taken"
    after = remote.listing(place("memory://set"), again=True)
    assert after["a.png"] != before["a.png"]
    assert after["b/c.png"] == before["b/c.png"]


def test_a_store_is_asked_again_and_then_given_up(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/set/a.png", b"1")
    answers = iter(
        [TimeoutError("busy"), ConnectionError("reset"), None, *[TimeoutError("down")] * 3, PermissionError("expired")]
    )
    ask = memory.cat_file

    def slow(name: str) -> bytes:
        if error := next(answers):
            raise error
        return ask(name)

    monkeypatch.setattr(memory, "cat_file", slow)
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    assert remote.content(place("memory://set/a.png"), 10) == b"1"
    with pytest.raises(StoreError, match=r"expected an answer for memory://set/a.png, asked 3 times: .*down"):
        read(place("memory://set/a.png"))
    with pytest.raises(StoreError, match=r"expected to be let in at memory:.*: expired"):
        read(place("memory://set/a.png"))


def test_what_fsspec_lacks_is_told() -> None:
    with pytest.raises(StoreError, match="expected a URL that fsspec knows, got nowhere://x"):
        remote.listing(place("nowhere://x"))
