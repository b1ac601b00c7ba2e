"""EXIF against Pillow, and on bytes that are none."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from photo_files import exif_of
from PIL import Image

from attributes import exif

TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


@given(st.integers(1, 8), TEXT, TEXT, st.datetimes(), st.integers(1, 5000), st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_pillow_writes_is_read(
    orientation: int, make: str, model: str, taken: object, tenths: int, prefixed: bool
) -> None:
    told = {"taken": f"{taken:%Y:%m:%d %H:%M:%S}".zfill(19), "focal_length": tenths / 10}
    raw = exif_of(orientation=orientation, make=make, model=model, **told).tobytes()
    assert raw.startswith(b"Exif\0\0")
    found = exif.read(raw if prefixed else raw[6:])
    assert found.orientation == orientation
    assert found.captured_at == f"{taken:%Y-%m-%dT%H:%M:%S}".zfill(19)
    assert found.camera is not None
    assert found.camera.endswith(model)
    assert abs((found.focal_length or 0) - tenths / 10) < 1e-6


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"Exif\0\0II*\0\x08\0\0\0"])
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_valid_values_or_none(data: bytes, header: bytes) -> None:
    found = exif.read(header + data)
    assert found.orientation in {None, *range(1, 9)}
    assert found.focal_length is None or 0 < found.focal_length < float("inf")


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=5), st.integers(0, 400))
@settings(max_examples=300, deadline=None)
def test_damage_costs_tags_and_nothing_more(changes: list[tuple[int, int]], kept: int) -> None:
    raw = exif_of(orientation=6, make="Maker", model="Model", taken="2007:03:09 17:45:01", focal_length=18.5).tobytes()
    data = bytearray(raw)
    for position, value in changes:
        data[position % len(data)] = value
    found = exif.read(bytes(data[:kept]))
    assert found.orientation in {None, *range(1, 9)}
    assert found.captured_at is None or len(found.captured_at) == 19


def test_a_tag_of_another_type_or_place_is_no_tag() -> None:
    def one(tag: int, kind: int, length: int, value: bytes) -> bytes:
        return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI", tag, kind, length) + value + bytes(4)

    assert exif.read(one(0x0112, 3, 1, b"\x06\0\0\0")).orientation == 6
    assert exif.read(one(0x0112, 4, 1, b"\x08\0\0\0")).orientation == 8
    assert exif.read(one(0x0112, 2, 2, b"6\0\0\0")).orientation is None
    assert exif.read(one(0x0112, 99, 1, b"\x06\0\0\0")).orientation is None
    assert exif.read(one(0x0112, 3, 2**31, b"\x06\0\0\0")).orientation is None
    assert exif.read(one(0x8769, 4, 1, b"\xff\xff\xff\xff")) == exif.Exif()
    assert exif.read(b"") == exif.read(b"Exif\0\0") == exif.Exif()


def test_orientation_of_the_inner_directory_counts_for_nothing_as_in_pillow() -> None:
    written = Image.Exif()
    written.get_ifd(0x8769).update({0x0112: 6, 0x9003: "2020:01:02 03:04:05"})
    assert exif.read(written.tobytes()) == exif.Exif(captured_at="2020-01-02T03:04:05")
    written[0x0112] = 3
    assert exif.read(written.tobytes()).orientation == 3
