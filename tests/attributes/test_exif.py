"""EXIF against Pillow, and on bytes that are none."""

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_files import exif_of
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

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


# An EOS 20D with its lens at 18 mm, and the tags that name its focal plane.
TAKEN = "2007:03:09 17:45:01"
CANON = {"focal_length": 18, "size": (3504, 2336), "density": (3959.322, 3959.322), "unit": 2, "changed": TAKEN}


def with_lens(*, film=None, size=None, density=None, unit=None, changed=None, focal_length=None) -> bytes:
    """Return EXIF that tells the focal length in one way or another."""
    told = {} if focal_length is None else {"focal_length": focal_length}
    written = exif_of(orientation=6, make="Maker", model="Model", taken=TAKEN, **told)
    inner: dict[int, object] = {0xA405: film, 0xA210: unit}
    if size is not None:
        inner |= {0xA002: size[0], 0xA003: size[1]}
    if density is not None:
        inner |= {0xA20E: IFDRational(round(density[0] * 1000), 1000), 0xA20F: IFDRational(density[1])}
    written.get_ifd(0x8769).update({tag: value for tag, value in inner.items() if value is not None})
    if changed is not None:
        written[0x0132] = changed
    return written.tobytes()


@pytest.mark.parametrize(
    ("film", "expected"), [(28, 28), (9, 9), (3000, 3000), (0, None), (8, None), (3001, None), (65535, None)]
)
def test_the_equivalent_focal_length_is_believed_where_a_lens_has_it(film: int, expected: float | None) -> None:
    assert exif.read(with_lens(film=film)).focal_35mm == expected


def test_the_focal_plane_tells_it_where_the_camera_does_not() -> None:
    # 22.5 mm across and 15 mm down: a sensor of 27.02 mm diagonal, 1.6 times smaller than film.
    diagonal = math.hypot(3504 / 3959.322, 2336 / 3959.322) * 25.4
    expected = 18 * 43.2666 / diagonal
    assert 28 < expected < 29.5
    assert exif.read(with_lens(**CANON)).focal_35mm == pytest.approx(expected, rel=1e-5)
    assert exif.read(with_lens(**CANON | {"unit": None})).focal_35mm == pytest.approx(expected, rel=1e-5)  # inch
    metric = CANON | {"density": (3959.322 / 2.54, 3959.322 / 2.54), "unit": 3}
    assert exif.read(with_lens(**metric)).focal_35mm == pytest.approx(expected, rel=1e-5)
    assert exif.read(with_lens(**CANON, film=35)).focal_35mm == 35
    assert exif.read(with_lens(**CANON, film=0)).focal_35mm == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"changed": "2013:02:28 17:06:13", "size": (876, 584)},  # scaled by a program, which left the density as it was
        {"changed": None},
        {"size": None},
        {"density": None},
        {"density": (0, 0)},
        {"unit": 7},
        {"focal_length": None},
        {"focal_length": 2},  # 3.2 mm on film
    ],
)
def test_a_focal_plane_that_may_not_be_the_photo_s_tells_nothing(change: dict[str, object]) -> None:
    assert exif.read(with_lens(**CANON | change)).focal_35mm is None


def test_focal_length_in_pixels() -> None:
    told = exif.read(with_lens(film=35, size=(4000, 3000)))
    assert told.size == (4000, 3000)
    # Film has a diagonal of 43.27 mm, the photos one of 5000, 1000 and 62.5 px.
    assert exif.focal_px(told, 4000, 3000) == pytest.approx(35 / 43.2666 * 5000, rel=1e-5)
    assert exif.focal_px(told, 800, 600) == pytest.approx(35 / 43.2666 * 1000, rel=1e-5)
    assert exif.focal_px(told, 50, 38) == pytest.approx(35 / 43.2666 * 62.5, rel=0.01)
    for cropped in ((4000, 2250), (3000, 3000), (3000, 4000), (640, 427), (1, 1)):
        assert exif.focal_px(told, *cropped) is None
    assert exif.focal_px(exif.read(with_lens(film=35)), 3000, 4000) == pytest.approx(35 / 43.2666 * 5000, rel=1e-5)
    assert exif.focal_px(exif.read(with_lens(focal_length=5.8)), 800, 600) is None
    assert exif.focal_px(exif.read(with_lens(film=35, size=(0, 3000))), 1, 1) is not None  # no size is stated


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"Exif\0\0II*\0\x08\0\0\0"])
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_valid_values_or_none(data: bytes, header: bytes) -> None:
    found = exif.read(header + data)
    assert found.orientation in {None, *range(1, 9)}
    assert found.focal_length is None or 0 < found.focal_length < float("inf")
    length = exif.focal_px(found, 640, 480)
    assert length is None or 0 < length < float("inf")


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=5), st.integers(0, 400))
@settings(max_examples=300, deadline=None)
def test_damage_costs_tags_and_nothing_more(changes: list[tuple[int, int]], kept: int) -> None:
    data = bytearray(with_lens(**CANON))
    for position, value in changes:
        data[position % len(data)] = value
    found = exif.read(bytes(data[:kept]))
    assert found.orientation in {None, *range(1, 9)}
    assert found.captured_at is None or len(found.captured_at) == 19
    assert found.focal_35mm is None or 9 <= found.focal_35mm <= 3000
    assert (exif.focal_px(found, 4000, 3000) or 1) > 0


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
