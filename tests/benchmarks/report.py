"""How large the report is, and how fast it opens and filters in a browser; a fabricated run, no detector.

Needs Chromium and Playwright (``pip install playwright``); without them only sizes and rendering are measured.
Opening is told by four times from the start of navigation: the answer is painted (first contentful paint); the page is
ready (its script has run, so that tables sort and filters can be chosen); the first filter chosen at that moment stands
answered on the screen; the last byte, photos included, is read (domInteractive). Filtering is from the change of a
control to the frame in which the cards stand (two animation frames later at most). What the page's thread worked
(CPU time) says the same on a machine that does other things too.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "report"), str(Path(__file__).resolve().parents[2])]

from harness import DATA, Ledger  # noqa: E402
from make_run import make_run  # noqa: E402

from xai import report  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

FILTER = """async ([name, value]) => {
  const field = document.querySelector(`[data-filter=${name}]`);
  field.value = value === null ? field.options[1 + Math.floor((field.options.length - 1) / 2)].value : value;
  const start = performance.now();
  field.dispatchEvent(new Event("input", { bubbles: true }));
  const handled = performance.now() - start;
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  while (!document.querySelector("#gallery .card, #gallery .none:not([hidden])")) await frame();
  await frame();
  await frame();
  return [handled, performance.now() - start];
}"""


# Runs before the page: as soon as its script has run, a cause is chosen, as by a hand that waited for it.
FIRST = """new PerformanceObserver(async (list, observer) => {
  if (!list.getEntriesByName("ready").length) return;
  observer.disconnect();
  const field = document.querySelector("[data-filter=cause]");
  field.value = field.options[1].value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  while (!document.querySelector("#gallery .card, #gallery .none:not([hidden])")) await frame();
  await frame();
  await frame();
  window.answered = performance.now();
}).observe({ type: "mark", buffered: true });"""

TIMES = {
    "first paint": "performance.getEntriesByName('first-contentful-paint')[0]?.startTime",
    "ready": "performance.getEntriesByName('ready')[0]?.startTime",
    "all of it read": "performance.getEntriesByType('navigation')[0].domInteractive || undefined",
    "first filter answered": "window.answered",
}
"""What is measured of opening → how the page tells it, ms from the start of navigation."""


def measure(page: Path, ledger: Ledger, name: str, turns: int) -> None:
    """Open and filter the page in Chromium."""
    from playwright.sync_api import sync_playwright

    opened: dict[str, list[float]] = {what: [] for what in TIMES}
    worked, handled, filtered = [], [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for early in [False, True] * (turns + 1):
            tab: Any = browser.new_page(viewport={"width": 1440, "height": 900})
            asked_of = tab.context.new_cdp_session(tab)
            asked_of.send("Performance.enable", {"timeDomain": "threadTicks"})
            if early:
                tab.add_init_script(FIRST)
            tab.goto(page.as_uri())
            if not early:
                metrics = asked_of.send("Performance.getMetrics")["metrics"]
                worked.append(1000 * next(item["value"] for item in metrics if item["name"] == "TaskDuration"))
            for what, asked in TIMES.items():
                if early == (what == "first filter answered"):
                    while (told := tab.evaluate(asked)) is None:  # its own waiting needs unsafe-eval
                        tab.wait_for_timeout(20)
                    opened[what].append(told)
            for choice in (
                () if early else (["cause", None], ["mechanism", None], ["q", "glare"], ["q", ""], ["cause", ""])
            ):
                script, frame = tab.evaluate(FILTER, choice)
                handled.append(script)
                filtered.append(frame)
            tab.close()
        browser.close()
    for what, times in opened.items():
        ledger.add(f"{name}: {what}", median(times[1:]), 200, "lower", "ms from the start of navigation")
    ledger.add(f"{name}: opening, thread", median(worked[1:]), None, "lower", "ms of CPU time until it is loaded")
    ledger.add(f"{name}: filter, median", median(filtered), 200, "lower", "ms from the choice to the frame")
    ledger.add(f"{name}: filter, worst", max(filtered), 200, "lower", f"ms, of {len(filtered)}")
    ledger.add(f"{name}: filter, script alone", median(handled), None, "lower", "ms")


def bare(page: Path, ledger: Ledger, name: str, turns: int) -> None:
    """The limit: a page of one word whose other bytes, as many as the report's, the browser only reads past."""
    from playwright.sync_api import sync_playwright

    head = "<!doctype html><title>bare</title><p>bare<script type='text/plain'>"
    limit = page.with_name("bare.html")
    limit.write_text(head + "A" * (page.stat().st_size - len(head)))
    times: dict[str, list[float]] = {what: [] for what in ("first paint", "all of it read")}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(2 * turns + 1):
            tab = browser.new_page(viewport={"width": 1440, "height": 900})
            tab.goto(limit.as_uri())
            for what, told in times.items():
                while (value := tab.evaluate(TIMES[what])) is None:
                    tab.wait_for_timeout(20)
                told.append(value)
            tab.close()
        browser.close()
    for what, told in times.items():
        ledger.add(
            f"{name}: bare page of that size, {what}", median(told[1:]), None, "lower", "ms; the browser's limit"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=DATA / "voc" / "eval" / "JPEGImages", help="photos for the gallery"
    )
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    files = sorted(options.data.rglob("*.jpg"))
    ledger = Ledger("report")
    browser = CHROMIUM is not None and importlib.util.find_spec("playwright") is not None
    with tempfile.TemporaryDirectory() as folder:
        for misses, photos in ((300, 490), (2000, 3250)):
            run = make_run(Path(folder) / str(misses), photos=photos, gallery=misses, mapped=300, photo_files=files)
            start = time.perf_counter()
            page = report.render(run)
            name = f"{report.summarize(run).misses} misses"
            ledger.add(f"{name}: rendering", time.perf_counter() - start, None, "lower", "s")
            target = 12.0 if misses == 300 else None
            ledger.add(f"{name}: page", page.stat().st_size / 1e6, target, "lower", f"MB; {len(files)} photos in turn")
            if browser:
                measure(page, ledger, name, options.turns)
                bare(page, ledger, name, options.turns)
    if not browser:
        print("opening and filtering not measured: needs Chromium and Playwright")
    ledger.table()


if __name__ == "__main__":
    main()
