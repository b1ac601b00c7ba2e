"""What a browser makes of the page: Debian's Chromium driven by Playwright, offline."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import HOSTILE_LABEL
from make_run import make_run

from xai import report, tables

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
MISSES = "#gallery .cards > .card"

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser, or skip with the reason."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    playwright = sync_api.sync_playwright().start()
    opened = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
    yield opened
    opened.close()
    playwright.stop()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Open a report; what it asks for and says is kept in ``asked`` and ``said`` of the tab."""
    contexts = []

    def opened(file: Path, address: str = "", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        tab = context.new_page()
        tab.asked, tab.said = [], []
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.on("console", lambda message: tab.said.append(message.text))
        tab.on("pageerror", lambda error: tab.said.append(str(error)))
        tab.on("dialog", lambda dialog: (tab.said.append("dialog"), dialog.dismiss()))
        tab.goto(file.as_uri() + address)
        return tab

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with more misses than the gallery shows at once."""
    return report.render(make_run(tmp_path_factory.mktemp("seen"), photos=60, gallery=None))


@pytest.fixture(scope="module")
def misses(file: Path) -> dict[str, dict[str, Any]]:
    """Its misses by id."""
    joined = tables.read(file.parent, "errors").join(
        tables.read(file.parent, "verdicts").drop("mechanism"), on="error_id"
    )
    return {row["error_id"]: row for row in joined.rows(named=True)}


def until(tab: Any, told: str) -> None:
    """Wait for a condition in the page; Playwright's own way of it needs ``unsafe-eval`` once it has to ask again."""
    for _ in range(600):
        if tab.evaluate(told):
            return
        tab.wait_for_timeout(50)
    pytest.fail(f"never came: {told}")


def shown(tab: Any) -> list[str]:
    """Return the ids of the cards, all of them fetched."""
    while tab.locator("#gallery .more button").is_visible():
        tab.locator("#gallery .more button").click()
    return [str(name).removeprefix("miss-") for name in tab.locator(MISSES).evaluate_all("all => all.map(e => e.id)")]


def test_a_page_of_misses_at_a_time(file: Path, misses: dict[str, Any], open_page: Open) -> None:
    tab = open_page(file)
    assert tab.locator(MISSES).count() == 24 < len(misses)
    assert tab.locator("#gallery output").inner_text() == f"{len(misses)} of {len(misses)} misses"
    assert set(shown(tab)) == set(misses)
    assert tab.said == []


def test_a_click_on_a_cause_filters(file: Path, misses: dict[str, Any], open_page: Open) -> None:
    wanted = {name for name, row in misses.items() if row["cause"] == "small_object"}
    for place in ("#causes figure .wide a", "#causes table a"):
        tab = open_page(file)
        tab.locator(place).and_(tab.locator("[href='#gallery?cause=small_object']")).first.click(force=True)
        until(tab, "document.querySelector('[data-filter=cause]').value === 'small_object'")
        assert tab.locator("[data-filter=cause]").input_value() == "small_object"
        assert set(shown(tab)) == wanted != set(misses)


def test_choices_search_and_their_address(file: Path, misses: dict[str, Any], open_page: Open) -> None:
    tab = open_page(file)
    tab.locator("[data-filter=label]").select_option("car")
    tab.locator("[data-filter=strength]").select_option("strong")
    cars = {name for name, row in misses.items() if row["label"] == "car"}
    strong = {name for name in cars if misses[name]["strength"] >= 0.7}
    assert set(shown(tab)) == strong
    address = tab.evaluate("location.hash")
    assert set(shown(open_page(file, address))) == strong, "the address can be passed on"
    tab.locator("#gallery button[type=reset]").click()
    until(tab, "location.hash === '#gallery'")
    tab.locator("[data-filter=q]").fill("CAR photo_000")
    found = {name for name in cars if "photo_000" in misses[name]["image_id"]}
    assert set(shown(tab)) == found
    tab.locator("[data-filter=q]").fill("no such thing")
    assert shown(tab) == []
    assert tab.locator("#gallery .none").is_visible()


def test_slices_and_mechanisms_filter(file: Path, misses: dict[str, Any], open_page: Open) -> None:
    tab = open_page(file)
    conditions = tab.locator("[data-filter=slice] option").nth(1).get_attribute("value")
    tab.locator("[data-filter=slice]").select_option(conditions)
    wanted = set(conditions.split(" & "))
    assert set(shown(tab)) == {name for name, row in misses.items() if wanted <= set(row["conditions"])}
    tab.locator("[data-filter=slice]").select_option("")
    tab.locator("[data-filter=mechanism]").select_option("low_score")
    assert set(shown(tab)) == {name for name, row in misses.items() if row["mechanism"] == "low_score"}


def test_a_link_opens_one_miss_wherever_it_stands(file: Path, misses: dict[str, Any], open_page: Open) -> None:
    last = shown(open_page(file))[-1]
    tab = open_page(file, f"#miss-{last}")
    until(tab, f"document.activeElement.id === 'miss-{last}'")
    # The page scrolls smoothly, which takes a moment, and must come to rest there.
    top = f"document.querySelector('#miss-{last}').getBoundingClientRect().top"
    until(tab, f"-600 < {top} && {top} < 900")
    tab.wait_for_timeout(500)
    assert -600 < tab.evaluate(top) < 900
    assert len(shown(tab)) == len(misses), "the others follow"


def test_compressed_misses_are_shown_like_others(
    tmp_path: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xai.report import gallery

    monkeypatch.setattr(gallery, "READABLE", 3)
    page = report.render(make_run(tmp_path, photos=20, gallery=6))
    tab = open_page(page)
    names = tab.evaluate("JSON.parse(document.querySelector('#index').content.textContent).error_id")
    last = names[-1]
    until(tab, f"document.querySelectorAll('{MISSES}').length === {min(24, len(names))}")
    assert tab.locator("noscript[data-miss]").count() == 3
    linked = open_page(page, f"#miss-{last}")
    until(linked, f"document.activeElement.id === 'miss-{last}'")
    linked.locator("[data-filter=q]").fill(last)
    assert shown(linked) == [last]
    assert linked.said == tab.said == []


def test_tables_sort_by_value_with_unknowns_last(file: Path, open_page: Open) -> None:
    tab = open_page(file)
    head = tab.locator("#coverage table.sortable").first.locator("th", has_text="Miss rate").first
    column = head.evaluate("e => e.cellIndex")
    for reverse in (True, False):
        head.locator("button").click()
        values = tab.locator("#coverage table.sortable").first.evaluate(
            f"t => [...t.tBodies[0].rows].map(row => row.cells[{column}].dataset.v)"
        )
        known = [float(value) for value in values if value]
        assert known == sorted(known, reverse=reverse)
        assert all(not value for value in values[len(known) :])
        assert head.get_attribute("aria-sort") == ("descending" if reverse else "ascending")


def test_toggles_show_heat_map_repair_and_close_look(file: Path, open_page: Open) -> None:
    tab = open_page(file)
    card = tab.locator(f"{MISSES}:has([data-do=repaired])").first
    whole, view = card.locator("svg.whole"), "e => e.getAttribute('viewBox')"
    full = whole.evaluate(view)
    card.locator("[data-do=close]").click()
    assert whole.evaluate(view) != full
    card.locator("[data-do=close]").click()
    assert whole.evaluate(view) == full
    card.locator("[data-do=heat]").click()
    assert card.locator("image.heat").get_attribute("visibility") == "visible"
    card.locator("[data-do=repaired]").click()
    assert not whole.is_visible()
    assert card.locator("svg.repaired").is_visible()
    assert "Without a small object" in card.locator(".caption").inner_text()
    card.locator("[data-do=repaired]").click()
    assert whole.is_visible()
    assert not card.locator("svg.repaired").is_visible()


def test_the_keyboard_suffices(file: Path, open_page: Open) -> None:
    tab = open_page(file)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.locator("#causes table a").first.focus()
    tab.keyboard.press("Enter")
    until(tab, "location.hash.startsWith('#gallery?cause=')")
    tab.locator("[data-filter=q]").focus()
    tab.keyboard.type("photo")
    while not tab.evaluate("document.activeElement.closest('.card') !== null"):
        tab.keyboard.press("Tab")
    tab.keyboard.press("ArrowRight")
    second = tab.locator(MISSES).nth(1)
    assert second.evaluate("e => e === document.activeElement")
    tab.keyboard.press("e")
    assert second.locator("details").evaluate("e => e.open")
    tab.keyboard.press("z")
    assert second.locator("[data-do=close]").get_attribute("aria-pressed") == "true"
    tab.keyboard.press("ArrowLeft")
    assert tab.locator(MISSES).first.evaluate("e => e === document.activeElement")


@pytest.mark.parametrize("width", [390, 1280])
def test_no_sideways_scroll(file: Path, open_page: Open, width: int) -> None:
    tab = open_page(file, viewport={"width": width, "height": 844})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator("#causes figure").evaluate("e => e.scrollWidth - e.clientWidth") <= 0


def test_nothing_is_asked_of_any_network(file: Path, open_page: Open) -> None:
    tab = open_page(file)
    shown(tab)
    tab.locator("#data").scroll_into_view_if_needed()
    asked = [address for address in tab.asked if not address.startswith("data:")]
    assert asked == [file.as_uri()]


def test_pictures_beside_the_page_are_shown(tmp_path: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from xai.report import gallery

    monkeypatch.setattr(gallery, "EMBEDDED", 1)
    page = report.render(make_run(tmp_path, photos=10, gallery=None))
    tab = open_page(page)
    asked = [address for address in tab.asked if not address.startswith("data:")]
    assert len(asked) > 1
    assert all(address.startswith(page.parent.as_uri()) for address in asked)
    assert not any("Content Security Policy" in text for text in tab.said)


def test_script_in_names_does_nothing(tmp_path: Path, open_page: Open) -> None:
    labels = (HOSTILE_LABEL, "</noscript><img src=x onerror=alert(1)>", "a & b")
    name = "\"><img src=x onerror='alert(1)'></noscript><script>alert(2)</script>{:04d}.jpg"
    page = report.render(make_run(tmp_path, photos=30, labels=labels, image_name=name, gallery=6))
    tab = open_page(page)
    assert len(shown(tab)) > 10
    tab.locator("[data-filter=label]").select_option(HOSTILE_LABEL)
    assert all(HOSTILE_LABEL in text for text in tab.locator(f"{MISSES} h3").all_text_contents())
    tab.locator("[data-filter=q]").fill("<script>")
    assert tab.said == []
    assert tab.locator("body script, body img").count() == 1, "the page's own script"


def test_without_script_every_miss_is_shown(file: Path, misses: dict[str, Any], open_page: Open) -> None:
    tab = open_page(file, java_script_enabled=False)
    assert tab.locator("#store .card").count() == len(misses)
    assert tab.locator("#store .card").last.is_visible()
    assert tab.locator("#gallery a[href='#store']").is_visible()
    assert not tab.locator("form.filters").is_visible()


def test_it_prints(file: Path, open_page: Open) -> None:
    pdfium = pytest.importorskip("pypdfium2", reason="pypdfium2, which reads PDF, is not installed")
    tab = open_page(file)
    document = pdfium.PdfDocument(tab.pdf(format="A4"))
    try:
        assert 5 < len(document) < 60
        first = document[0].get_textpage().get_text_range()
    finally:
        document.close()
    assert "A quality problem" in first
    tab.emulate_media(media="print")
    for gone in ("form.filters", ".tools", "nav.contents"):
        assert not tab.locator(gone).first.is_visible()
    assert tab.locator("#words").get_by_text("Misses per object in this condition").first.is_visible()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_no_serious_violation_of_accessibility(file: Path, open_page: Open, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    tab = open_page(file, viewport={"width": width, "height": 844}, color_scheme=scheme)
    tab.locator(f"{MISSES} details summary").first.click()
    tab.locator(f"{MISSES}:has([data-do=repaired])").first.locator("[data-do=repaired]").click()
    found = axe.Axe().run(tab).response
    serious = [
        (item["id"], item["nodes"][0]["html"][:300], item["nodes"][0]["failureSummary"])
        for item in found["violations"]
        if item["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert found["passes"], "the check ran"
