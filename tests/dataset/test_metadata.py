"""Tables of what is known of photos, as people really keep them."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xai import config
from xai.dataset import metadata
from xai.exceptions import ConfigError, DataError, XaiError


def read(path: Path, **types: str) -> pl.DataFrame:
    return metadata.read(config.Metadata.model_validate({"path": path, "types": types}))


def written(folder: Path, text: str | bytes, name: str = "weather.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def images(*ids: str, split: str = "eval") -> pl.DataFrame:
    return pl.DataFrame({"split": [split] * len(ids), "image_id": ids, "camera": ["A"] * len(ids)})


def test_numbers_and_words_are_told_apart(tmp_path: Path) -> None:
    text = "image_id,speed,weather,site,note\na.jpg,3.5,rain,01,\nb.jpg,-1e2,dry,02,\nc.jpg,NA,,03,\n"
    frame = read(written(tmp_path, text))
    assert frame.columns == ["image_id", "meta_speed", "meta_weather", "meta_site", "meta_note"]
    assert frame["meta_speed"].to_list() == [3.5, -100.0, None]
    assert frame["meta_weather"].to_list() == ["rain", "dry", None]
    assert frame["meta_site"].to_list() == ["01", "02", "03"]
    assert frame["meta_note"].to_list() == [None] * 3


def test_the_first_value_of_another_type_is_named_by_its_line(tmp_path: Path) -> None:
    rows = [f'p{index}.jpg,"two\nlines",{index}' for index in range(27)] + ['x.jpg,,"3,5"', "y.jpg,,many"]
    path = written(tmp_path, "image_id,note,speed\n" + "\n".join(rows))
    with pytest.raises(
        DataError,
        match=r"^weather\.csv line 56: expected a number in column 'speed' \(like the other 27 rows\), got '3,5'; "
        r"correct it or set data\.metadata\.types: \{speed: text\}$",
    ):
        read(path)
    assert read(path, speed="text")["meta_speed"][-2:].to_list() == ["3,5", "many"]


def test_a_mixed_column_is_text_unless_it_is_said_to_be_of_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "image_id,speed\na,1\nb,2\nc,fast\nd,unknown\n")
    assert read(path)["meta_speed"].to_list() == ["1", "2", "fast", "unknown"]
    with pytest.raises(DataError, match=r"line 4: .* \(as data\.metadata\.types says\), got 'fast'"):
        read(path, speed="number")
    path = written(tmp_path, "image_id,speed\na,1\nb,unknown\nc,none\n")
    assert read(path, speed="number")["meta_speed"].to_list() == [1.0, None, None]
    with pytest.raises(ConfigError, match=r"has no column 'sped'; did you mean 'speed'\?"):
        read(path, sped="number")


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_whatever_divides_the_fields(tmp_path: Path, sign: str) -> None:
    text = "\r\n".join(sign.join(row) for row in (["image_id", " Wind (m/s) "], ["über/ä 1.jpg", "4"], ["東.jpg", ""]))
    frame = read(written(tmp_path, b"\xef\xbb\xbf" + text.encode()))
    assert frame.to_dict(as_series=False) == {"image_id": ["über/ä 1.jpg", "東.jpg"], "meta_Wind_m_s": [4.0, None]}


def test_decimal_commas_where_commas_do_not_divide(tmp_path: Path) -> None:
    frame = read(written(tmp_path, "image_id;speed\na;3,5\nb;4\nc;-0,25\n"))
    assert frame["meta_speed"].to_list() == [3.5, 4.0, -0.25]
    rows = "".join(f"p{index};{index},5\n" for index in range(20))
    with pytest.raises(DataError, match=r"line 22: .*got '3\.5'"):
        read(written(tmp_path, f"image_id;speed\n{rows}x;3.5\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got an empty file"),
        ("\n\n", "got an empty file"),
        (",,\n", "got empty fields only"),
        ("image_id,a\n", "expected rows below the header, found none"),
        ("Image_ID,a\nx,1\n", r"expected a column image_id .* got Image_ID, a: rename 'Image_ID'"),
        ("a,b\nx,1\n", r"expected a column image_id"),
        ("image_id,a\nx,1\ny,3,5\n", r"line 3: expected 2 fields as in the header, got 3: 'y,3,5'; .* needs quotes"),
        ("image_id,a,a\nx,1,2\n", "the column 'a' is there twice"),
        ("image_id,a b,a-b\nx,1,2\n", "two columns would be called 'meta_a_b'"),
        ("image_id,a\nx,1\n ,2\n", "line 3: image_id is empty"),
        ("image_id,a\nx,1\ny,1\nx,2\n", r"line 4: 'x' was described in line 2 already, with other values"),
        ("image_id,split,a\nx,val,1\n", r"line 2: expected split to be one of train, eval, .* got 'val'"),
        (b"image_id,a\n\xfc.jpg,1\n", "expected UTF-8 text, got byte 0xfc at 11"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(written(tmp_path, text))
    with pytest.raises(ConfigError, match="found none"):
        read(tmp_path / "absent.csv")


def test_repetitions_pandas_indices_and_windows_paths(tmp_path: Path) -> None:
    frame = read(written(tmp_path, ",image_id,a\n0,./x\\1.jpg,1\n1,x/1.jpg,1\n2,y.jpg,2\n\n"))
    assert frame.to_dict(as_series=False) == {"image_id": ["x/1.jpg", "y.jpg"], "meta_a": [1.0, 2.0]}


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    path = tmp_path / "known.parquet"
    made = pl.DataFrame(
        {
            "image_id": ["a", "b"],
            "speed": [1, None],
            "height": [float("nan"), 2.5],
            "night": [True, None],
            "day": pl.Series(["2024-05-01", None]).str.to_date(),
            "text": ["1", "2"],
        }
    )
    made.write_parquet(path)
    frame = read(path, text="number", speed="text")
    assert frame.row(0, named=True) == {
        "image_id": "a", "meta_speed": "1", "meta_height": None, "meta_night": "true", "meta_day": "2024-05-01",
        "meta_text": 1.0,
    }  # fmt: skip
    made.with_columns(text=pl.Series(["1", "x"])).write_parquet(path)
    with pytest.raises(DataError, match=r"known\.parquet row 2: expected a number in column 'text'"):
        read(path, text="number")
    made.with_columns(boxes=pl.Series([[1.0], [2.0]])).write_parquet(path)
    with pytest.raises(DataError, match=r"column 'boxes' holds List\(Float64\)"):
        read(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read(path)


def test_photos_get_what_is_known_of_them_and_their_group(tmp_path: Path) -> None:
    path = written(tmp_path, "image_id,weather,site\na,rain,1\nb,dry,2\nt,dry,2\ngone,dry,3\n")
    section = config.Metadata(path=path)
    given = {"eval": images("c", "b", "a"), "train": images("s", "t", split="train")}
    got = metadata.attach(given, section, "site")
    assert got.types == {"meta_weather": "text", "meta_site": "number"}
    assert got.images["eval"].select("image_id", "meta_weather", "group").rows() == [
        ("c", None, None), ("b", "dry", "2"), ("a", "rain", "1"),
    ]  # fmt: skip
    assert got.images["train"]["group"].to_list() == [None, "2"]
    assert got.issues.select("code", "severity", "message", "file").rows() == [
        (
            "metadata_without_photo", "info", "1 of 4 rows are about photos that no split has, as 'gone'",
            "weather.csv",
        )
    ]  # fmt: skip
    again = metadata.attach(got.images, section, "site")
    assert again.images["eval"].drop("group").equals(got.images["eval"].drop("group"))


def test_a_split_of_which_nothing_is_known_has_no_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "image_id,split,weather\na,eval,rain\na,production,dry\n")
    given = {"eval": images("a"), "train": images("a", split="train")}
    got = metadata.attach(given, config.Metadata(path=path), "weather")
    assert got.images["eval"]["meta_weather"].to_list() == ["rain"]
    assert "meta_weather" not in got.images["train"].columns
    assert got.images["train"]["group"].to_list() == [None]


def test_a_row_that_may_be_about_either_of_two_photos_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "image_id,weather\na.jpg,rain\nb.jpg,sun\n")
    known = config.Metadata(path=path)
    judged, train = images("a.jpg", "b.jpg"), images("a.jpg", split="train")
    same = {"eval": judged.with_columns(sha256=pl.Series(["1", "2"])), "train": train.with_columns(sha256=pl.lit("1"))}
    assert metadata.attach(same, known, None).images["train"]["meta_weather"].to_list() == ["rain"]
    other = same | {"train": train.with_columns(sha256=pl.lit("9"))}
    with pytest.raises(DataError, match=r"'a.jpg' names different photos of eval and train .* add a column split"):
        metadata.attach(other, known, None)
    written(tmp_path, "image_id,split,weather\na.jpg,eval,rain\nb.jpg,eval,sun\n")
    assert "meta_weather" not in metadata.attach(other, known, None).images["train"].columns


def test_metadata_about_other_photos_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "image_id,weather\n000001.jpg,rain\n")
    with pytest.raises(
        DataError, match=r"none of its 1 rows .* has '000001.jpg', .* called as 'JPEGImages/000001.jpg'"
    ):
        metadata.attach({"eval": images("JPEGImages/000001.jpg")}, config.Metadata(path=path), None)


def test_groups_come_from_metadata_camera_or_labels() -> None:
    table = images("a", "b").with_columns(meta_site=pl.Series([1.0, 2.5]), label_video=pl.lit("v"))
    assert metadata.group_column(table, "site").to_list() == ["1.0", "2.5"]
    assert metadata.group_column(table, "meta_site").to_list() == ["1.0", "2.5"]
    assert metadata.group_column(table, "camera").to_list() == ["A", "A"]
    assert metadata.group_column(table, "video").to_list() == ["v", "v"]
    with pytest.raises(
        ConfigError, match=r"no column 'sight': did you mean 'site'\? valid ones: camera, site, label_v"
    ):
        metadata.group_column(table, "sight")
    got = metadata.attach({"eval": table}, None, "camera")
    assert got.images["eval"]["group"].to_list() == ["A", "A"]
    assert metadata.attach({"eval": table}, None, None).images["eval"].equals(table)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=80), st.text(max_size=80).map(lambda text: f"image_id,a\n{text}".encode())))
def test_no_text_is_a_crash_and_no_row_is_invented(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    try:
        frame = read(path)
    except XaiError as error:
        assert 1 <= len(str(error).splitlines()) <= 2  # noqa: PT017
        return
    assert len(frame) <= content.count(b"\n") + content.count(b"\r")
    assert frame["image_id"].null_count() == 0
    assert frame["image_id"].n_unique() == len(frame)
