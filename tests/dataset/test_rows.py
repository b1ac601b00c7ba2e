"""Rows of YOLO label files, against a row-by-row reading in plain Python."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xai.dataset import codes
from xai.dataset.rows import MIXUP, Text, parse

NAMES = {0: "person", 1: "car", 5: "bus"}


def one(row: str, names: dict[int, str] = NAMES) -> str | None:
    """The code of a single row, None for a label."""
    labels, issues = parse([Text("a.jpg", "a.txt", row.encode())], names, split="eval")
    assert len(labels) + len(issues) == 1
    return issues["code"][0] if len(issues) else None


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("0 0.5 0.5 0.2 0.2", None),
        ("  5\t0.5   0.5 0.2 0.2  ", None),
        ("1.0 5e-1 +.5 0.2 0.2", None),
        ("0 1.4 0.5 0.9 0.2", None),
        ("0 0.5 0.5 -0.2 0.2", None),
        ("0 0.5 0.5 0.2", "wrong_field_count"),
        ("0 0.5 0.5 0.2 0.2 0.9", "wrong_field_count"),
        ("0 0.1 0.1 0.9 0.1 0.9", "wrong_field_count"),
        ("0 0.1 0.1 0.9 0.1 0.9 0.9", None),
        ("0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9", None),
        ("0 0.1 0.1 0.9 0.1 0.9 0.9 0.1", "wrong_field_count"),
        ("0 0.1 0.1 0.9 x 0.9 0.9", "not_a_number"),
        ("0 0.1 0.1 0.9 0.1 nan 0.9", "not_finite"),
        ("0 10 10 90 10 90 90", "normalised_pixel_mixup"),
        ("0,0.5,0.5,0.2,0.2", "wrong_field_count"),
        ("0 0,5 0.5 0.2 0.2", "not_a_number"),
        ("car 0.5 0.5 0.2 0.2", "not_a_number"),
        ("0 0.5 nan 0.2 0.2", "not_finite"),
        ("0 0.5 0.5 inf 0.2", "not_finite"),
        ("inf 0.5 0.5 0.2 0.2", "not_finite"),
        ("0.5 0.5 0.5 0.2 0.2", "unparsable_line"),
        ("0 0.5\x00 0.5 0.2 0.2", "unparsable_line"),
        ("2 0.5 0.5 0.2 0.2", "class_out_of_range"),
        ("-1 0.5 0.5 0.2 0.2", "class_out_of_range"),
        ("1e300 0.5 0.5 0.2 0.2", "class_out_of_range"),
        ("0 320 240 64 48", "normalised_pixel_mixup"),
        ("0 0.5 0.5 -30 0.2", "normalised_pixel_mixup"),
    ],
)
def test_codes(row: str, code: str | None) -> None:
    assert one(row) == code


def test_lines_boxes_and_numbers() -> None:
    content = b"\xef\xbb\xbf0 0.5 0.5 0.2 0.4\r\n\r\n  \r1 oops 0 0 0\n5 0.25 0.5 0.5 1"
    labels, issues = parse([Text("ü.jpg", "ü.txt", content), Text("empty.jpg", "e.txt", b"\n")], NAMES, split="eval")
    assert labels.select("image_id", "object_id", "label", "line", "normalised").rows() == [
        ("ü.jpg", 0, "person", 1, True),
        ("ü.jpg", 2, "bus", 5, True),
    ]
    assert labels.select("x1", "y1", "x2", "y2").rows() == [
        pytest.approx((0.4, 0.3, 0.6, 0.7)),
        pytest.approx((0, 0, 0.5, 1)),
    ]
    assert issues.select("split", "image_id", "object_id", "code", "severity", "file", "line").rows() == [
        ("eval", "ü.jpg", None, "not_a_number", "error", "ü.txt", 4)
    ]
    assert issues["message"][0] == (
        "expected numbers 'class cx cy w h' or 'class x1 y1 x2 y2 x3 y3 ...'; got '1 oops 0 0 0'; not used"
    )


def test_polygons_and_turned_boxes_become_the_box_around_them() -> None:
    content = b"0 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5\n1 0.2 0.3 0.6 0.35 0.4 0.8"
    labels, issues = parse([Text("a", "a", content)], NAMES, split="eval")
    assert labels.select("label", "x1", "y1", "x2", "y2").rows() == [
        ("person", 0.1, 0.1, 0.9, 0.9),
        ("car", 0.2, 0.3, 0.6, 0.8),
    ]
    assert issues.is_empty()


def test_key_points_behind_a_box_are_passed_over() -> None:
    content = b"0 0.5 0.5 0.2 0.2 0.1 x 2 9 nan 0\n0 0.5 0.5 0.2 0.2\n0 .1 .1 .2 .2 .3 .3"
    labels, issues = parse([Text("a", "a", content)], NAMES, split="eval", key_points=6)
    assert labels.select("x1", "y1", "x2", "y2").rows() == [pytest.approx((0.4, 0.4, 0.6, 0.6))]
    assert issues["code"].to_list() == ["wrong_field_count"] * 2
    assert "expected 11 fields 'class cx cy w h' and 6 of key points, as kpt_shape says" in issues["message"][0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_texts_of_other_systems(encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    content = f"{mark}0 0.5 0.5 0.2 0.2\r\n1 0.5 0.5 0.2 0.2\r\n".encode(encoding)
    labels, issues = parse([Text("a", "a", content)], NAMES, split="eval")
    assert (labels["label"].to_list(), len(issues)) == (["person", "car"], 0)


def test_bytes_that_are_no_text_cost_their_line() -> None:
    labels, issues = parse([Text("a", "a", b"0 .5 .5 .1 .1\n\xff\xfe 0 1\n1 .5 .5 .1 .1\n")], NAMES, split="eval")
    assert labels["line"].to_list() == [1, 3]
    assert issues.select("code", "line").rows() == [("unparsable_line", 2)]


def test_a_list_of_names_with_gaps_is_hinted_at() -> None:
    _, issues = parse([Text("a", "a", b"0 .5 .5 .1 .1")], {1: "person", 3: "car"}, split="eval")
    assert (
        "a class of the 2 numbered 1 to 3 with gaps: the labels may be numbered by another scheme"
        in issues["message"][0]
    )


def test_nothing_and_much() -> None:
    labels, issues = parse([], NAMES, split="eval")
    assert len(labels) == len(issues) == 0
    labels, issues = parse([Text("a", "a", b"1 .5 .5 .1 .1\n" * 100_000)], NAMES, split="eval")
    assert labels["object_id"].to_list() == list(range(100_000))


def expected(row: str) -> str | None:
    """Row by row, with Python's own numbers."""
    fields = row.split()
    if "\0" in row or "\ufffd" in row:
        return "unparsable_line"
    if len(fields) < 5 or len(fields) % 2 == 0:
        return "wrong_field_count"
    try:
        number, *values = map(float, fields)
    except ValueError:
        return "not_a_number"
    if not all(map(math.isfinite, (number, *values))):
        return "not_finite"
    if number != round(number):
        return "unparsable_line"
    if number not in NAMES:
        return "class_out_of_range"
    return "normalised_pixel_mixup" if max(map(abs, values)) > MIXUP else None


FIELD = st.one_of(
    st.floats(-3, 3).map(str),
    st.floats().map(str),
    st.sampled_from(["0", "1", "5", "2", "0.5", "1.0", ".5", "1e-3", "-1", "x", "1,5", "nan", "-inf", "640", "�"]),
)
ROW = st.lists(FIELD, min_size=1, max_size=9).map(" ".join) | st.tuples(
    st.sampled_from("015"), *[st.floats(0, 1).map(str)] * 4
).map(" ".join)


@settings(deadline=None, max_examples=150)
@given(rows=st.lists(ROW, max_size=12), end=st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
def test_rows_are_judged_as_one_by_one(rows: list[str], end: str) -> None:
    labels, issues = parse([Text("a.jpg", "a.txt", end.join(rows).encode())], NAMES, split="eval")
    verdicts = [expected(row) for row in rows]
    assert labels["object_id"].to_list() == [number for number, code in enumerate(verdicts) if code is None]
    assert issues["code"].to_list() == [code for code in verdicts if code is not None]
    step = 2 if end == "\n\n" else 1
    good = [1 + step * number for number, code in enumerate(verdicts) if code is None]
    assert labels["line"].to_list() == good
    for (x1, y1, x2, y2), number in zip(labels.select("x1", "y1", "x2", "y2").rows(), labels["object_id"], strict=True):
        values = [float(field) for field in rows[number].split()][1:]
        if len(values) == 4:
            cx, cy, w, h = values
            assert (x1, y1, x2, y2) == (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        else:
            assert (x1, y1, x2, y2) == (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))


@settings(deadline=None, max_examples=150)
@given(content=st.binary(max_size=200))
def test_no_bytes_crash_and_no_row_is_lost(content: bytes) -> None:
    labels, issues = parse([Text("a.jpg", "a.txt", content)], NAMES, split="eval")
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = content.decode("utf-16" if marked else "utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
    rows = [line for line in text.split("\n") if line.translate(SEPARATORS).strip()]
    assert len(labels) + len(issues) == len(rows)
    assert set(issues["severity"]) <= {"error"}
    assert set(issues["code"]) <= set(codes.CODES)


SEPARATORS = dict.fromkeys(range(0x1C, 0x20), "x")
"""Python strips these control characters as white space, Unicode does not call them that."""
