from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",
    "--hide-scrollbars",
    "--window-size=1300,900",
)

PROBE = """<!doctype html><meta charset="utf-8"><body>
<iframe id="phone" src="report.html" style="width:390px;height:800px"></iframe>
<iframe id="desk" src="report.html" style="width:1280px;height:800px"></iframe>
<script>
const answers = {};
phone.onload = () => { answers.phone_overflow = phone.contentDocument.documentElement.scrollWidth - 390; };
desk.onload = () => {
  const page = desk.contentDocument;
  const visible = () => [...page.querySelectorAll(".card")].filter((card) => !card.hidden);
  answers.desk_overflow = page.documentElement.scrollWidth - 1280;
  answers.all = visible().length;
  const link = page.querySelector("#causes [data-show-cause]");
  link.click();
  answers.cause = link.dataset.showCause;
  answers.after_click = visible().map((card) => card.dataset.cause);
  page.querySelector(".filters button[type=reset]").click();
  const mechanism = page.querySelector("select[data-filter=mechanism]");
  mechanism.value = mechanism.options[1].value;
  mechanism.dispatchEvent(new desk.contentWindow.Event("change", { bubbles: true }));
  answers.mechanism = mechanism.value;
  answers.after_select = visible().map((card) => card.dataset.mechanism);
  const sorted = (times) => {
    const table = page.querySelector("#coverage table");
    const column = [...table.tHead.rows[0].cells].findIndex((head) => head.textContent === "Miss rate");
    for (let i = 0; i < times; i += 1) table.tHead.rows[0].cells[column].querySelector("button").click();
    return [...table.tBodies[0].rows].map((row) => row.cells[column].dataset.v);
  };
  answers.descending = sorted(1);
  answers.ascending = sorted(1);
  const picture = page.querySelector(".photo svg");
  const whole = picture.getAttribute("viewBox");
  const zoom = page.querySelector("[data-do=close]");
  zoom.click();
  answers.zoomed = picture.getAttribute("viewBox") !== whole && zoom.getAttribute("aria-pressed") === "true";
  zoom.click();
  answers.unzoomed = picture.getAttribute("viewBox") === whole;
  const heat = page.querySelector("[data-do=heat]");
  heat.click();
  answers.heat = heat.closest(".photo").querySelector(".heat").getAttribute("visibility");
};
addEventListener("load", () => { document.body.textContent = JSON.stringify(answers); });
</script>"""


@pytest.fixture(scope="module")
def answers(page: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a browser makes of the page, on a phone's and on a desk's width."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    folder: Path = tmp_path_factory.mktemp("browser")
    (folder / "report.html").write_text(page, encoding="utf-8")
    (folder / "probe.html").write_text(PROBE, encoding="utf-8")
    command = [
        CHROMIUM,
        *OPTIONS,
        f"--user-data-dir={folder / 'profile'}",
        "--dump-dom",
        (folder / "probe.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<body>(\{.*\})</body>", done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return dict(json.loads(html.unescape(found[1])))


def test_no_sideways_scroll(answers: dict[str, Any]) -> None:
    assert answers["phone_overflow"] <= 0
    assert answers["desk_overflow"] <= 0


def test_a_click_on_a_cause_filters_the_gallery(answers: dict[str, Any]) -> None:
    assert answers["all"] == 12
    assert 0 < len(answers["after_click"]) < answers["all"]
    assert set(answers["after_click"]) == {answers["cause"]}


def test_a_choice_filters_the_gallery(answers: dict[str, Any]) -> None:
    assert set(answers["after_select"]) <= {answers["mechanism"]}


def test_tables_sort_by_value_with_unknowns_last(answers: dict[str, Any]) -> None:
    def known(values: list[str]) -> list[float]:
        return [float(value) for value in values if value]

    for name, reverse in (("descending", True), ("ascending", False)):
        values = answers[name]
        assert known(values) == sorted(known(values), reverse=reverse)
        assert all(not value for value in values[len(known(values)) :])


def test_pictures_zoom_and_show_the_heat_map(answers: dict[str, Any]) -> None:
    assert answers["zoomed"]
    assert answers["unzoomed"]
    assert answers["heat"] == "visible"
