"""The coverage table and the charts of a run as a notebook shows them."""

from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest
from report.make_run import make_run

from xai import Run, tables
from xai.report import format as fmt


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(make_run(tmp_path_factory.mktemp("run"), labels=("car", "a<b>")))


def test_conditions_of_all_classes_or_of_one(run: Run) -> None:
    whole = run.coverage_table()
    assert whole.frame["label"].null_count() == len(whole) > 0
    assert set(run.coverage_table("car").frame["label"]) == {"car"}
    order = ["coverage_gap", "hard", "rare_harmless", "too_few", "fine"]
    places = [order.index(name) for name in whole.frame["assessment"]]
    assert places == sorted(places)
    assert whole.to_pandas()["bin"].tolist() == whole.frame["bin"].to_list()


def test_figures_are_those_of_the_table(run: Run) -> None:
    table = run.coverage_table()
    first = table.frame.row(0, named=True)
    shown = table._repr_html_()
    for figure in (fmt.share(first["miss_share"]), fmt.ratio(first["adjusted_risk_ratio"])):
        assert f">{figure}</td>" in shown
    rare = table.where(attribute="object_size")
    assert set(rare.frame["attribute"]) == {"object_size"}
    assert shown.count("<tr>") == 1 + min(len(table), 20)


def test_class_names_are_escaped(run: Run) -> None:
    shown = run.coverage_table("a<b>")._repr_html_()
    assert "a&lt;b&gt;" in shown
    assert "<b>a<b>" not in shown


def test_charts_are_svg_without_links(run: Run, tmp_path: Path) -> None:
    for chart in (run.plot(), run.coverage_table().plot(), run.coverage_table("car").plot()):
        assert ElementTree.fromstring(chart._repr_html_()).tag == "{http://www.w3.org/2000/svg}svg"
        assert "href" not in chart.svg
    saved = run.plot().save(tmp_path / "causes.svg")
    assert ElementTree.parse(saved).getroot().get("color") == "#222"


def test_without_a_training_set(tmp_path: Path) -> None:
    alone = Run(make_run(tmp_path, train=None))
    assert "of training set" in alone.coverage_table()._repr_html_()
    assert "nothing to draw" in alone.coverage_table().plot()._repr_html_()
    assert alone.coverage["train_share"].null_count() == len(alone.coverage)


def test_an_empty_table(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    tables.write(pl.read_parquet(folder / "coverage.parquet").clear(), folder / "coverage.parquet")
    assert "0 conditions" in repr(Run(folder).coverage_table())
    assert "<tbody></tbody>" in Run(folder).coverage_table()._repr_html_()
