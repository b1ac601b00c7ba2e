"""The PASCAL VOC reader, against ElementTree on real files and against broken ones."""

import contextlib
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xai import dataset
from xai.dataset import codes, voc, voc_rows, voc_xml
from xai.exceptions import ConfigError, DataError

VOC = Path(__file__).resolve().parents[2] / "../shared/data/voc"
real = pytest.mark.skipif(not VOC.is_dir(), reason="needs the real photos in ../shared/data")


def element(name: str | None = "car", box: tuple[object, ...] = (1, 2, 30, 40), more: str = "") -> str:
    corners = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(voc_rows.CORNERS, box, strict=False))
    named = f"<name>{name}</name>" if name is not None else ""
    return f"<object>{named}{more}<bndbox>{corners}</bndbox></object>"


def write(root: Path, stem: str, *objects: str, head: str = "", photo: bool = True, text: str | None = None) -> None:
    for folder in ("Annotations", "JPEGImages"):
        (root / folder / stem).parent.mkdir(parents=True, exist_ok=True)
    body = "\n".join(objects)
    content = text if text is not None else f"<annotation>{head}\n{body}\n</annotation>"
    (root / "Annotations" / f"{stem}.xml").write_text(content, encoding="utf-8")
    if photo:
        (root / "JPEGImages" / f"{stem}.jpg").write_bytes(b"")


@real
@pytest.mark.parametrize(
    ("folder", "photos", "objects", "difficult"), [("eval", 250, 835, 165), ("train", 400, 1133, 207)]
)
def test_real_counts(folder: str, photos: int, objects: int, difficult: int) -> None:
    data = voc.read(VOC / folder, role="eval")
    assert (len(data.image_ids), len(data.labels), data.issues.height) == (photos, objects, 0)
    assert data.labels["ignore"].to_list().count("difficult") == difficult
    assert len(data.class_names) == 20


@real
def test_rows_equal_those_of_elementtree() -> None:
    data = voc.read(VOC / "eval", role="eval")
    expected = []
    for image_id in data.image_ids:
        path = data.root / "Annotations" / f"{Path(image_id).stem}.xml"
        lines = [n for n, line in enumerate(path.read_text().splitlines(), start=1) if "<object>" in line]
        root = ElementTree.parse(path).getroot()
        for number, item in enumerate(root.findall("object")):
            x1, y1, x2, y2 = (float(item.findtext(f"bndbox/{corner}", "")) for corner in voc_rows.CORNERS)
            pose = item.findtext("pose")
            size = [int(root.findtext(f"size/{side}", "")) for side in ("width", "height")]
            own = [None if pose == "Unspecified" else pose, int(item.findtext("truncated", ""))]
            place = (image_id, number, item.findtext("name"))
            expected.append((*place, x1 - 1, y1 - 1, x2, y2, lines[number], *own, *size))
    columns = ["image_id", "object_id", "label", "x1", "y1", "x2", "y2", "line", "label_pose", "label_truncated"]
    assert data.labels.select(*columns, "file_width", "file_height").rows() == expected


def test_parts_flags_and_columns(tmp_path: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>"
    write(
        tmp_path,
        "nested/Straße 1",
        element("véhicule", more=f"<pose>Left</pose><difficult>1</difficult>{part}<occluded>0.5</occluded>"),
        element("car", more="<pose>Unspecified</pose><difficult>maybe</difficult><occluded>1</occluded>"),
        head="<size><width>0</width><height>40</height></size>",
    )
    data = voc.read(tmp_path, role="train")
    assert data.image_ids == ("JPEGImages/nested/Straße 1.jpg",)
    first, second = data.labels.rows(named=True)
    assert (first["label"], first["ignore"], first["label_pose"]) == ("véhicule", "difficult", "Left")
    assert [first["x1"], first["y1"], first["x2"], first["y2"]] == [0, 1, 30, 40]
    assert (second["ignore"], second["label_pose"], second["label_occluded"]) == (None, None, 1.0)
    assert (first["file_width"], first["file_height"]) == (None, 40)
    assert "label_part" not in data.labels.columns
    issue = data.issues.row(0, named=True)
    assert (issue["code"], issue["object_id"], issue["line"], issue["split"]) == ("unclear_flag", 1, 3, "train")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (element(None), "missing_field"),
        (element("  "), "missing_field"),
        (element("car", (1, 2, 3)), "missing_field"),
        ("<object><name>car</name></object>", "missing_field"),
        (element("car", (1, "<a>2</a>", 3, 4)), "missing_field"),
        (element("car", (1, 2, "3,5", 4)), "not_a_number"),
        (element("car", ("nan", 2, 3, 4)), "not_finite"),
        (element("car", (1, 2, "1e999", 4)), "not_finite"),
        (element("car", (0.1, 0.2, 0.5, 0.7)), "normalised_pixel_mixup"),
        (element("car", more="<bndbox><xmin>1</xmin></bndbox>"), "wrong_field_count"),
        (element("car", more="<name>bus</name>"), "wrong_field_count"),
    ],
)
def test_a_bad_object_costs_itself_only(tmp_path: Path, text: str, code: str) -> None:
    write(tmp_path, "a", element(), text, element())
    data = voc.read(tmp_path, role="eval")
    assert data.labels["object_id"].to_list() == [0, 2]
    assert data.issues.select("code", "severity", "file", "line", "image_id", "object_id").rows() == [
        (code, "error", "Annotations/a.xml", 3, "JPEGImages/a.jpg", None)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not xml",
        "<annotation><object>",
        "<annotations></annotations>",
        '<!DOCTYPE a [<!ENTITY b "c">]><annotation><object><name>&b;</name></object></annotation>',
        '<?xml version="1.0" encoding="klingon"?><annotation/>',
        "<annotation>&undefined;</annotation>",
    ],
)
def test_a_photo_with_a_broken_file_is_left_out(tmp_path: Path, text: str) -> None:
    write(tmp_path, "good", element())
    write(tmp_path, "bad", text=text)
    data = voc.read(tmp_path, role="eval")
    assert data.image_ids == ("JPEGImages/good.jpg",)
    assert data.issues.select("code", "image_id", "line").rows() == [
        ("unreadable_label_file", "JPEGImages/bad.jpg", None)
    ]


def test_what_tools_write_otherwise(tmp_path: Path) -> None:
    write(
        tmp_path,
        "a",
        element("car", (1.5, 2.25, 30.75, 40)),
        head="<filename>old name.png</filename><segmented>1</segmented>",
    )
    comments = "<!-- x --><object><name>c<!-- y -->ar</name><!-- <bndbox/> --></object>".replace(
        "</object>", element().removeprefix("<object><name>car</name>")
    )
    write(tmp_path, "b", comments, head="<!-- reviewed -->")
    write(tmp_path, "c", text=f'<annotation xmlns="http://x">{element()}</annotation>')
    prefixed = (
        f"<annotation>{element()}</annotation>".replace("</", "</v:").replace("<", "<v:").replace("<v:/v:", "</v:")
    )
    write(tmp_path, "d", text=prefixed.replace("<v:annotation>", '<v:annotation xmlns:v="http://x">', 1))
    data = voc.read(tmp_path, role="eval")
    assert data.labels.select("image_id", "label", "x1", "y1", "x2", "y2").rows() == [
        ("JPEGImages/a.jpg", "car", 0.5, 1.25, 30.75, 40),
        *[(f"JPEGImages/{stem}.jpg", "car", 0, 1, 30, 40) for stem in "bcd"],
    ]
    assert data.labels["file_width"].to_list() == [None] * 4
    assert "label_segmented" not in data.labels.columns
    assert data.issues.is_empty()


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("utf-8-sig", ""), ("utf-16", ""), ("utf-16", "utf-16"), ("latin-1", "ISO-8859-1"), ("cp1252", "windows-1252")],
)
def test_encodings(tmp_path: Path, encoding: str, declared: str) -> None:
    write(tmp_path, "a")
    head = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    text = f"{head}<annotation>{element('Straße')}</annotation>"
    (tmp_path / "Annotations/a.xml").write_bytes(text.encode(encoding))
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/val.txt").write_bytes("a\r\n".encode("utf-16" if "16" in encoding else "utf-8-sig"))
    assert voc.read(tmp_path, role="eval", split="val").labels["label"].to_list() == ["Straße"]


def test_a_wrong_encoding_costs_its_file(tmp_path: Path) -> None:
    write(tmp_path, "a")
    write(tmp_path, "b")
    (tmp_path / "Annotations/a.xml").write_bytes(f"<annotation>{element('Straße')}</annotation>".encode("latin-1"))
    data = voc.read(tmp_path, role="eval")
    assert data.issues.select("code", "image_id").rows() == [("unreadable_label_file", "JPEGImages/a.jpg")]


def test_columns_beyond_number_are_left_out(tmp_path: Path) -> None:
    more = "".join(f"<k{number}>1</k{number}>" for number in range(250))
    write(tmp_path, "a", element(more=more), element(more="<k249>1</k249>"))
    data = voc.read(tmp_path, role="eval")
    assert sum(name.startswith("label_") for name in data.labels.columns) == 200
    assert data.issues.select("code", "message").rows() == [
        ("too_many_columns", "kept the first 200 columns of objects, left out 50 others")
    ]


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    write(tmp_path, "a", text=f'<!DOCTYPE x [<!ENTITY a0 "ha">{laughs}]><annotation>&a11;</annotation>')
    write(tmp_path, "b", text='<!DOCTYPE x [<!ENTITY s SYSTEM "file:///etc/passwd">]><annotation>&s;</annotation>')
    write(tmp_path, "c", element())
    data = voc.read(tmp_path, role="eval")
    assert data.issues["code"].to_list() == ["unreadable_label_file"] * 2
    assert all("DOCTYPE" in message for message in data.issues["message"])


def test_deep_nesting_is_read_in_linear_time() -> None:
    assert voc_xml.parse(b"<annotation>" + b"<a>" * 300_000 + b"</a>" * 300_000 + b"</annotation>").objects == []


def test_photos_and_annotations_that_stand_alone(tmp_path: Path) -> None:
    write(tmp_path, "a", element())
    write(tmp_path, "b", element(), photo=False)
    (tmp_path / "JPEGImages/c.PNG").write_bytes(b"")
    (tmp_path / "JPEGImages/a.png").write_bytes(b"")
    (tmp_path / "JPEGImages/.hidden.jpg").write_bytes(b"")
    (tmp_path / "JPEGImages/notes.txt").write_bytes(b"")
    data = voc.read(tmp_path, role="eval")
    assert data.image_ids == ("JPEGImages/a.jpg",)
    assert sorted(data.issues.select("code", "image_id", "file").rows(), key=str) == [
        ("label_without_photo", None, "Annotations/b.xml"),
        ("photo_without_label", "JPEGImages/a.png", None),
        ("photo_without_label", "JPEGImages/c.PNG", None),
    ]


def test_a_split_keeps_what_it_lists(tmp_path: Path) -> None:
    for stem in ("a", "b", "c 1"):
        write(tmp_path, stem, element())
    (tmp_path / "JPEGImages/alone.jpg").write_bytes(b"")
    listing = tmp_path / "ImageSets/Main/val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("a\r\nc 1\n\nb -1\na\n../../etc/passwd\nalone\n", encoding="utf-8")
    data = voc.read(tmp_path, role="eval", split="val")
    assert data.image_ids == ("JPEGImages/a.jpg", "JPEGImages/b.jpg", "JPEGImages/c 1.jpg")
    assert sorted(data.issues["code"].to_list()) == ["listed_twice", "photo_missing", "photo_without_label"]
    assert data.issues.filter(code="listed_twice").select("file", "line").row(0) == ("ImageSets/Main/val.txt", 5)
    with pytest.raises(ConfigError, match=r"split 'test'.*Main holds val\.txt"):
        voc.read(tmp_path, role="eval", split="test")


def test_paths_that_hold_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        voc.read(tmp_path / "absent", role="eval")
    write(tmp_path / "VOCdevkit/VOC2007", "a", element(), photo=False)
    with pytest.raises(ConfigError, match=r"lacks Annotations and JPEGImages; name .*VOC2007 instead"):
        voc.read(tmp_path, role="eval")
    with pytest.raises(DataError, match=r"found no pair \(1 problems, first: expected a photo"):
        voc.read(tmp_path / "VOCdevkit/VOC2007", role="eval")


def test_a_file_name_that_is_no_text_is_reported(tmp_path: Path) -> None:
    write(tmp_path, "a", element())
    try:
        Path(str(tmp_path / "JPEGImages/b"), "..").parent.with_name("b\udcff.jpg").write_bytes(b"")
    except OSError:
        pytest.skip("the file system takes Unicode names only")
    data = voc.read(tmp_path, role="eval")
    assert data.issues.select("code", "file").rows() == [("path_not_unicode", "JPEGImages/b�.jpg")]


def test_photos_without_objects_are_background(tmp_path: Path) -> None:
    write(tmp_path, "a")
    data = voc.read(tmp_path, role="eval")
    assert (len(data.image_ids), data.labels.height, data.class_names) == (1, 0, ())


XML_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="￾￿"), max_size=8)
NUMBER = st.one_of(XML_TEXT, st.integers(-5, 900).map(str), st.floats().map(str))


@settings(deadline=None, max_examples=120)
@given(objects=st.lists(st.tuples(XML_TEXT, st.lists(NUMBER, max_size=4), XML_TEXT), max_size=6))
def test_every_object_is_a_label_or_an_issue(objects: list[tuple[str, list[str], str]], tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    root = tmp_path_factory.mktemp("voc")
    elements = [
        element(
            escape(name), tuple(map(escape, box)), f"<difficult>{escape(flag)}</difficult><pose>{escape(flag)}</pose>"
        )
        for name, box, flag in objects
    ]
    write(root, "a", *elements)
    data = voc.read(root, role="eval")
    errors = data.issues.filter(severity="error")
    assert len(data.labels) + len(errors) == len(objects)
    assert set(data.issues["code"]) <= set(dataset.CODES)
    assert all(codes.CODES[code].severity == severity for code, severity in data.issues["code", "severity"].rows())
    lines = sorted([*data.labels["line"].to_list(), *errors["line"].to_list()])
    assert lines == list(range(2, len(objects) + 2))


@settings(deadline=None, max_examples=150)
@given(content=st.binary(max_size=200))
def test_no_bytes_crash_the_parser(content: bytes) -> None:
    with contextlib.suppress(voc_xml.AnnotationError):
        voc_xml.parse(b"<annotation>" + content)


SOUND = f'<?xml version="1.0"?>\n<annotation>{element() * 3}</annotation>'.encode()


@settings(deadline=None, max_examples=150)
@given(place=st.integers(0, len(SOUND)), size=st.integers(0, 4), other=st.binary(max_size=4))
def test_a_mutated_file_costs_no_more_than_itself(
    place: int,
    size: int,
    other: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("voc")
    write(root, "a")
    write(root, "good", element())
    (root / "Annotations/a.xml").write_bytes(SOUND[:place] + other + SOUND[place + size :])
    data = voc.read(root, role="eval")
    assert data.labels["image_id"].to_list().count("JPEGImages/good.jpg") == 1
    errors = data.issues.filter(severity="error")
    if "unreadable_label_file" in errors["code"]:
        assert (data.image_ids, len(data.labels), len(errors)) == (("JPEGImages/good.jpg",), 1, 1)
    else:
        assert len(data.labels) - 1 + len(errors) <= 3
