"""The catalog as readers see it: complete, within the width, and the same on the page that is kept."""

import json
from dataclasses import replace
from pathlib import Path

from attributes import ATTRIBUTES, listing
from attributes.attribute import bins

PAGE = Path(listing.__file__).with_name("README.md")


def test_the_page_is_that_of_the_catalog() -> None:
    assert PAGE.read_text(encoding="utf-8") == listing.markdown(ATTRIBUTES), (
        "the catalog has changed: run 'xai tag --list --format md > attributes/README.md'"
    )


def test_text_says_everything_within_the_width() -> None:
    for width in (80, 100):
        shown = listing.text(ATTRIBUTES, width)
        assert max(map(len, shown.splitlines())) <= width
        words = " ".join(shown.split())
        for attribute in ATTRIBUTES.values():
            told = (attribute.definition, attribute.why, attribute.source, attribute.accuracy)
            assert all(" ".join(text.split()) in words for text in told)


def test_a_block_reads_like_this() -> None:
    judged = bins("clear", 0.25, "veiled", judged=[(76, 4), (1, 19)])
    haze = replace(
        ATTRIBUTES["haze"], bins=judged, why="looks", definition="veil", source="own", accuracy="good", bin_error=0.05,
        cost=0.2345,
    )  # fmt: skip
    assert listing.text({"haze": haze}) == (
        "haze                image · 0 to 1 · 0.23 ms per photo\n"
        "  is        veil\n"
        "  bins      clear < 0.25 ≤ veiled\n"
        "  why       looks\n"
        "  source    own\n"
        "  accuracy  good\n"
        "  wrong bin 5% in all\n"
        "            clear: 1.3% wrong, 5% missed, 5% stray\n"
        "            veiled: 17.4% wrong, 5% missed, 5% stray\n"
    )


def test_rows_are_json_and_whole() -> None:
    found = [json.loads(json.dumps(row)) for row in listing.rows(ATTRIBUTES)]
    assert [row["name"] for row in found] == list(ATTRIBUTES)
    glare = next(row for row in found if row["name"] == "glare")
    assert glare["bins"]["none"] == [None, glare["bins"]["mild"][0]]
    assert glare["bin_errors"]["strong"]["wrong"] == next(
        part.error for part in ATTRIBUTES["glare"].bins if part.name == "strong"
    )
    assert {"definition", "why", "source", "accuracy", "cost_ms", "range", "unit"} <= glare.keys()


def test_bars_in_a_text_do_not_break_the_table() -> None:
    page = listing.markdown({"haze": replace(ATTRIBUTES["haze"], definition="a|b")})
    assert "a\\|b |" in page
