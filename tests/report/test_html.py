from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import HOSTILE_LABEL
from make_run import make_run
from PIL import Image

from xai import report, tables
from xai.exceptions import RunError
from xai.report import gallery, html
from xai.report.source import open_run

VOID = {"meta", "input", "br", "img", "link", "hr"}


class Page(HTMLParser):
    """Collects elements and the text of the page; refuses tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"unclosed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif "style" not in self.open:
            self.texts.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def test_the_answer_comes_first_and_every_section_is_there(page: str, run_dir: Path) -> None:
    parsed, summary = Page(page), report.summarize(run_dir)
    sections = [attributes["id"] for attributes in parsed.named("section")]
    assert sections == ["answer", "causes", "coverage", "gallery", "detector", "data", "provenance", "words"]
    assert f"of {summary.objects} scored" in parsed.text
    for line in summary.lines():
        assert line in parsed.text
    assert len(parsed.named("h1")) == 1


def test_no_request_can_leave_the_page(page: str) -> None:
    parsed = Page(page)
    policy = next(
        attributes["content"] or ""
        for attributes in parsed.named("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    digest = base64.b64encode(hashlib.sha256("".join(parsed.scripts).encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert "img-src data:;" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert len(parsed.named("script")) == 1
    for tag, attributes in parsed.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "foreignobject"}
        for name, value in attributes.items():
            assert not name.startswith("on"), f"{tag} carries {name}"
            if name in {"href", "src", "xlink:href"}:
                assert (value or "").startswith(("#", "data:image/"))
    assert "url(" not in page
    assert "@import" not in page


def test_script_in_names_is_only_text(hostile_page: str) -> None:
    parsed = Page(hostile_page)
    assert len(parsed.named("script")) == 1
    assert not any("onerror" in attributes for _, attributes in parsed.elements)
    assert not parsed.named("img")
    assert HOSTILE_LABEL in parsed.text
    assert "{{ 7 * 7 }}" in parsed.text, "names are not templates"
    assert "ünï\u202eçödé 車" in parsed.text
    values = {attributes.get("value") for attributes in parsed.named("option")}
    assert HOSTILE_LABEL in values


def test_unknown_figures_are_dashes(page: str, hostile_page: str) -> None:
    for text in (Page(page).text, Page(hostile_page).text):
        assert not re.search(r"\bnan\b|\bNaN\b|\bNone\b|\binf\b|\bUndefined\b", text)


def test_every_line_of_evidence_is_a_sentence(page: str) -> None:
    text = Page(page).text
    for told in (
        "the usual ends at 0.15",
        "The lower part is seen with",
        "levelled",
        "Blur taken away: still not found",
    ):
        assert told in text
    assert not re.search(r", effect [+−]?\d", text), "a kind of evidence that nobody gave words"


def test_ids_are_unique_and_references_lead_somewhere(page: str) -> None:
    parsed = Page(page)
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in parsed.elements:
        for name in ("href", "aria-labelledby"):
            value = attributes.get(name) or ""
            if name == "aria-labelledby" and value:
                assert value in ids
            if value.startswith("#"):
                assert value[1:].partition("?")[0] in ids


def test_markup_serves_those_who_cannot_see_it(page: str) -> None:
    parsed = Page(page)
    assert parsed.named("html")[0]["lang"] == "en"
    tables_, captions = parsed.named("table"), parsed.named("caption")
    assert len(tables_) == len(captions) > 5
    assert all(attributes.get("scope") in {"col", "row"} for attributes in parsed.named("th"))
    assert all(attributes.get("aria-label") for attributes in parsed.named("svg") if attributes.get("role") == "img")
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_cards_show_the_box_in_the_pixels_of_the_photo(page: str, run_dir: Path) -> None:
    errors = tables.read(run_dir, "errors")
    objects = {
        (row["image_id"], row["object_id"]): row
        for row in tables.read(run_dir, "objects").rows(named=True)
        if row["split"] == "eval"
    }
    shown = [attributes["id"] for attributes in Page(page).named("article")]
    assert len(shown) == errors.height
    seen = 0
    for row in errors.rows(named=True):
        box = objects[row["image_id"], row["object_id"]]
        card = page[page.index(f'id="miss-{row["error_id"]}"') :].split("</article>")[0]
        if "<svg" in card:
            seen += 1
            assert 'viewBox="0 0 640 480"' in card
            assert f'<rect x="{round(box["x1"], 1)}" y="{round(box["y1"], 1)}"' in card
    assert seen == 12


def test_without_script_every_miss_is_there_to_be_read(page: str, run_dir: Path) -> None:
    summary = report.summarize(run_dir)
    parts = page.split("<noscript data-miss=")
    assert len(parts) - 1 == summary.misses
    assert all("</article></noscript>" in part for part in parts[1:])
    assert "<noscript><style>noscript { display: contents; }</style></noscript>" in page


def test_pictures_beside_the_page_are_allowed_only_where_there_are_some(
    full_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "EMBEDDED", 2)
    monkeypatch.setattr(html, "_both_widths", lambda *_: None)
    text = report.render(full_run).read_text(encoding="utf-8")
    assert "img-src data: 'self';" in text
    assert 'href="gallery/' in text


@pytest.mark.parametrize(
    "options",
    [{"missing": False}, {"train": None}, {"train": False}, {"promise": None}, {"judged": False}, {"gallery": 0}],
    ids=lambda options: "-".join(f"{key}-{value}" for key, value in options.items()),
)
def test_pages_of_runs_that_lack_something(
    tmp_path: Path, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "_both_widths", lambda *_: None)  # charts have tests of their own, and are slow
    page = Page(report.render(make_run(tmp_path, photos=12, **options)).read_text(encoding="utf-8"))  # type: ignore[arg-type]
    assert not re.search(r"\bnan\b|\bNone\b", page.text)
    if options == {"missing": False}:
        assert "No object was missed." in page.text
    if options == {"train": None}:
        assert "No training set was given" in page.text
        assert "Of training set" not in page.text
    if options == {"train": False}:
        assert "reference set" in page.text
        assert "training set" not in page.text.replace("not what the detector was trained on", "")


def test_a_run_of_nothing_has_a_page(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=3, missing=False)
    for name, schema in tables.TABLES.items():
        tables.write(tables.empty(schema), run / f"{name}.parquet")
    assert "Nothing to judge" in Page(report.render(run).read_text(encoding="utf-8")).text


def test_rendering_again_gives_the_same_page_and_leaves_nothing_behind(run_dir: Path, page: str) -> None:
    before = sorted(path.name for path in run_dir.iterdir())
    assert report.render(run_dir).read_text(encoding="utf-8") == page
    assert sorted(path.name for path in run_dir.iterdir()) == before


def test_a_logo_is_embedded_where_its_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "_both_widths", lambda *_: None)
    run = make_run(tmp_path / "run", photos=6, gallery=0)
    file = tmp_path / "logo.png"
    info = json.loads((run / "run.json").read_text())
    info["config"]["report"]["logo"] = str(file)
    (run / "run.json").write_text(json.dumps(info))
    assert not Page(report.render(run).read_text(encoding="utf-8")).named("img"), "the file is gone"
    Image.new("RGBA", (2000, 500), (200, 0, 0, 128)).save(file)
    (shown,) = Page(report.render(run).read_text(encoding="utf-8")).named("img")
    assert (shown["src"] or "").startswith("data:image/png")
    assert (shown["width"], shown["height"]) == ("240", "60")
    file.write_text("<svg onload='alert(1)'/>")
    with pytest.raises(RunError, match=r"logo\.png"):
        report.render(run)


def test_size_is_bounded(run_dir: Path, page: str) -> None:
    assert len(page) < 12_000_000
    small = gallery.build(open_run(run_dir), report.summarize(run_dir), max_cards=3)
    assert len(small.cards) == 3
    assert small.left_out == report.summarize(run_dir).misses - 3
    assert (gallery.MAX_CARDS, gallery.EMBEDDED) == (2000, 300)
