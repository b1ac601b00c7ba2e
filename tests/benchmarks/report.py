"""How large the report is, and how fast it opens and filters in a browser; a fabricated run, no detector.

Needs Chromium and Playwright (``pip install playwright``); without them only sizes and rendering are measured. Opening
is from the start of navigation to the end of the page's script (``domContentLoadedEventEnd``), filtering from the
change of a control to the frame in which the cards stand (two animation frames later at most). What the page's thread
worked (CPU time) says the same on a machine that does other things too.
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
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return [handled, performance.now() - start];
}"""


def measure(page: Path, ledger: Ledger, name: str, turns: int) -> None:
    """Open and filter the page in Chromium."""
    from playwright.sync_api import sync_playwright

    opened, worked, painted, handled, filtered = [], [], [], [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(turns + 1):
            tab: Any = browser.new_page(viewport={"width": 1440, "height": 900})
            asked_of = tab.context.new_cdp_session(tab)
            asked_of.send("Performance.enable", {"timeDomain": "threadTicks"})
            tab.goto(page.as_uri())
            metrics = asked_of.send("Performance.getMetrics")["metrics"]
            worked.append(1000 * next(item["value"] for item in metrics if item["name"] == "TaskDuration"))
            timing = tab.evaluate("performance.getEntriesByType('navigation')[0].toJSON()")
            opened.append(timing["domContentLoadedEventEnd"])
            paints = "performance.getEntriesByName('first-contentful-paint').map((entry) => entry.startTime)"
            tab.wait_for_function(f"{paints}.length > 0")
            painted.append(tab.evaluate(paints)[0])
            for asked in (["cause", None], ["mechanism", None], ["q", "glare"], ["q", ""], ["cause", ""]):
                script, frame = tab.evaluate(FILTER, asked)
                handled.append(script)
                filtered.append(frame)
            tab.close()
        browser.close()
    ledger.add(f"{name}: opens", median(opened[1:]), 200, "lower", "ms to the end of the page's script")
    ledger.add(f"{name}: opens, thread", median(worked[1:]), None, "lower", "ms of CPU time until it is loaded")
    ledger.add(f"{name}: first paint", median(painted[1:]), None, "lower", "ms to the first contentful paint")
    ledger.add(f"{name}: filter, median", median(filtered), 200, "lower", "ms from the choice to the frame")
    ledger.add(f"{name}: filter, worst", max(filtered), 200, "lower", f"ms, of {len(filtered)}")
    ledger.add(f"{name}: filter, script alone", median(handled), None, "lower", "ms")


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
    if not browser:
        print("opening and filtering not measured: needs Chromium and Playwright")
    ledger.table()


if __name__ == "__main__":
    main()
