"""Reported misses: every line of the list is a case or an issue, whatever people write."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xai.dataset.reported import Cases, read_cases, read_production
from xai.exceptions import ConfigError, DataError

PHOTOS = ("a.jpg", "sub/b.jpg", "sub/same.jpg", "other/same.jpg", "größe €.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in PHOTOS:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"not opened here")
    return tmp_path


def cases(folder: Path, text: str | bytes) -> Cases:
    path = folder / "cases.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_cases(path, read_production(folder / "photos"))


def test_boxes_are_objects_and_cases_without_one_are_kept_apart(folder: Path) -> None:
    told = cases(
        folder, "image,label,x1,y1,x2,y2,note\na.jpg,car,10,20,30,40.5,dark\na.jpg,car,,,,,\nsub/b.jpg,bus,,,,\n"
    )
    assert told.data.split == "production"
    assert set(told.data.image_ids) == set(PHOTOS)
    assert told.data.labels.select("image_id", "object_id", "label", "x1", "y2", "line").rows() == [
        ("a.jpg", 0, "car", 10.0, 40.5, 2)
    ]
    assert told.listed.rows() == [("a.jpg", 0, "car", "dark"), ("a.jpg", 1, "car", None), ("sub/b.jpg", 0, "bus", None)]
    assert told.data.class_names == ("bus", "car")


def test_photos_are_found_by_path_or_by_a_name_that_only_one_has(folder: Path) -> None:
    root = folder / "photos"
    names = ["b.jpg", "./sub/b.jpg", "sub\\b.jpg", str(root / "sub" / "b.jpg"), "größe €.jpg", "same.jpg", "none.jpg"]
    told = cases(folder, "photo;class\n" + "".join(f"{name};car\n" for name in [*names, "../a.jpg", "/etc/passwd"]))
    assert told.listed["image_id"].to_list() == ["sub/b.jpg"] * 4 + ["größe €.jpg"]
    issues = told.data.issues
    assert issues["code"].to_list() == ["case_without_photo"] * 4
    assert "several production photos" in issues["message"][0]
    assert issues["line"].to_list() == [7, 8, 9, 10]


def test_photos_are_found_in_any_case_and_without_their_ending(folder: Path) -> None:
    told = cases(folder, "image,label\nA.JPG,car\na,car\nprod/A.jpg,car\nsame,car\n")
    assert told.listed["image_id"].to_list() == ["a.jpg"] * 3
    assert "several production photos" in told.data.issues["message"][0]


def test_boxes_under_the_names_of_pascal_voc(folder: Path) -> None:
    told = cases(folder, "image;label;xmin;ymin;xmax;ymax\na.jpg;car;1;2;30;40\n")
    assert told.data.labels.select("x1", "y1", "x2", "y2").rows() == [(1.0, 2.0, 30.0, 40.0)]


@pytest.mark.parametrize("columns", ["x,y,w,h", "bbox", "x1,y1", "x1,y1,x2,y2,width"])
def test_boxes_in_another_form_are_refused_and_not_passed_over(folder: Path, columns: str) -> None:
    with pytest.raises(ConfigError, match=r"expected boxes as x1,y1,x2,y2"):
        cases(folder, f"image,label,{columns}\na.jpg,car,1,2,3,4\n")


def test_fractions_are_told_from_pixels(folder: Path) -> None:
    told = cases(folder, "image,label,x1,y1,x2,y2\na.jpg,car,0.1,0.2,0.5,1\na.jpg,car,0,0,1,1\n")
    assert told.data.labels["normalised"].to_list() == [True, False]


@pytest.mark.parametrize("box", ["1,2,3", "1,2,3,x", "1,2,3,nan", "1,,3,4", "inf,2,3,4"])
def test_a_box_that_is_none_is_an_issue(folder: Path, box: str) -> None:
    told = cases(folder, f"image,label,x1,y1,x2,y2\na.jpg,car,{box}\na.jpg,car,1,2,3,4\n")
    assert told.data.issues["code"].to_list() == ["case_not_understood"]
    assert len(told.listed) == 1


def test_byte_order_marks_tabs_blank_lines_and_other_columns(folder: Path) -> None:
    told = cases(folder, b"\xef\xbb\xbfwho\tImage\tLABEL\r\n\r\nme\ta.jpg\tcar\r\n")
    assert told.listed.rows() == [("a.jpg", 0, "car", None)]


def test_fields_beyond_the_header_shift_no_box(folder: Path) -> None:
    told = cases(folder, "image,label,x1,y1,x2,y2\na.jpg,car,10,5,20,5,30,5,40,5\na.jpg,car,1,2,3,4,,\n")
    assert told.data.labels.select("x1", "y1", "x2", "y2").rows() == [(1.0, 2.0, 3.0, 4.0)]
    assert told.data.issues.select("code", "line").rows() == [("case_not_understood", 2)]
    assert "got 30,5,40,5" in told.data.issues["message"][0]


def test_notes_may_hold_what_divides_the_fields(folder: Path) -> None:
    told = cases(folder, "\n\nimage;label;note\na.jpg;car;dark; at night\na.jpg;car\n")
    assert told.listed["note"].to_list() == ["dark; at night", None]


@pytest.mark.parametrize("header", ["", "picture,label\n", "image,lable\n", "image,label,label\n"])
def test_a_header_without_image_or_label_is_refused(folder: Path, header: str) -> None:
    with pytest.raises(ConfigError, match="expected a header"):
        cases(folder, header + "a.jpg,car\n" if header else "")


def test_nothing_usable_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"none of 1 lines is one; first problem, line 2"):
        cases(folder, "image,label\nnone.jpg,car\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        cases(folder, b"image,label\n\xff\xfe.jpg,car\n")
    with pytest.raises(ConfigError, match="expected a folder of photos"):
        read_production(folder / "nowhere")
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="expected photos"):
        read_production(folder / "empty")


@settings(max_examples=100, deadline=None)
@given(
    lines=st.lists(
        st.lists(st.sampled_from(["a.jpg", "car", "1", "0.5", "", "NaN", "é", '"', "\0", "1e999"]), max_size=8),
        max_size=6,
    )
)
def test_no_line_is_lost_or_invented(tmp_path_factory: pytest.TempPathFactory, lines: list[list[str]]) -> None:
    folder = tmp_path_factory.mktemp("lines")
    (folder / "photos").mkdir()
    (folder / "photos" / "a.jpg").write_bytes(b"")
    text = "image,label,x1,y1,x2,y2\na.jpg,car\n" + "".join(",".join(line) + "\n" for line in lines)
    told = cases(folder, text)
    counted = len(told.listed) + len(told.data.issues)
    quoted = any('"' in cell for line in lines for cell in line)  # a quote may run over the end of its line
    given = 1 + sum(any(cell.strip() for cell in line) for line in lines)
    assert counted == given or (quoted and 1 <= counted <= given)
    assert told.data.labels.select(pl.col("x1", "y1", "x2", "y2").is_finite()).to_series().all()
