import html
from pathlib import Path

import polars as pl
from make_run import make_run

from xai import tables
from xai.report.html import render
from xai.report.relabel import SHOWN, labels_to_look_at
from xai.report.source import open_run


def rows(count: int) -> pl.DataFrame:
    told = [
        {
            "split": "eval",
            "image_id": f"<{place}>.jpg",
            "object_id": place,
            "check": "wrong_class",
            "score": 0.9,
            "threshold": 0.75,
            "doubtful": place < count - 1,
            "reason": "taken for bus",
            "label": "car",
            "suggested_label": "bus",
        }
        for place in range(count)
    ]
    return tables.conform(pl.DataFrame(told), tables.BESIDE["relabel"])


def test_the_page_names_the_first_doubtful_labels(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    assert labels_to_look_at(open_run(folder)) is None
    tables.write(rows(31), folder / "relabel.parquet")
    view = labels_to_look_at(open_run(folder))
    assert view is not None
    assert (len(view.rows), view.doubtful) == (SHOWN, 30)
    page = render(folder).read_text(encoding="utf-8")
    assert "The first 20 of 30 labels that may be wrong" in page
    assert html.escape("<0>.jpg") in page
    assert "<0>.jpg" not in page
    assert "(or bus?)" in page


def test_the_page_says_that_no_label_is_doubtful(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    tables.write(rows(1), folder / "relabel.parquet")
    assert "No label is doubtful." in render(folder).read_text(encoding="utf-8")
