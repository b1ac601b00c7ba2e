"""Tickets as text and Markdown: readable, and harmless whatever the data is called."""

from xai.report.tickets import Example, Ticket, Unit, lines, markdown


def ticket(*examples: Example, unit: Unit = "label rows", total: int | None = 929, count: int = 12) -> Ticket:
    return Ticket("zero_area", "error", "the box has no area", "redraw it", count, unit, total, 9, examples)


PLACES = tuple(Example(f"labels/{index}.txt", index + 1, "no area") for index in range(9))


def test_the_extent_says_how_many_of_how_many() -> None:
    assert ticket().extent == "12 of 929 label rows (1.3%), in 9 photos"
    assert ticket(unit="photos", total=250, count=1).extent == "1 of 250 photos (0.4%)"
    assert ticket(unit="classes", total=None, count=1).extent == "1 class"
    assert ticket(unit="files", total=None, count=2).extent == "2 files"
    assert ticket(unit="entries", total=None, count=1).extent == "1 entry"
    assert ticket(unit="data set", total=None).extent == "the data set"
    assert ticket(count=0, total=0).extent == "0 of 0 label rows (0%), in 9 photos"


def test_the_terminal_shows_three_places_and_how_many_more() -> None:
    shown = lines([ticket(*PLACES)])
    assert shown == [
        "",
        "error: zero_area: 12 of 929 label rows (1.3%), in 9 photos",
        "  The box has no area.",
        "    labels/0.txt:1: no area",
        "    labels/1.txt:2: no area",
        "    labels/2.txt:3: no area",
        "    ... and 9 more",
        "  To do: redraw it.",
    ]
    assert lines([]) == []


def test_a_section_a_problem_for_whoever_owns_the_data() -> None:
    text = markdown([ticket(*PLACES)], title="Data check of eval", summary=["250 photos"], again="xai check eval")
    assert text.startswith("# Data check of eval\n\n250 photos\n\n## The box has no area\n")
    for part in (
        "**Code:** `zero_area` (error)", "**Extent:** 12 of 929 label rows (1.3%), in 9 photos",
        "**What it means:** It is not used", "**What to do:** Redraw it.", "**Where** (the first 9):",
        "- `labels/0.txt:1`: no area", "**Check again:** `xai check eval`",
    ):  # fmt: skip
        assert part in text
    renamed = Ticket("class_renamed", "warning", "a class looks renamed", "map it", 1, "classes", None, 0, ())
    assert "```yaml\ndata:\n  classes: {a: b}\n```" in markdown(
        [renamed], title="x", summary=[], again="xai check x", renamed="data:\n  classes: {a: b}\n"
    )


def test_names_that_are_markup_or_steer_a_terminal_stay_names() -> None:
    evil = Example("<script>`rm`</script>\x1b[2J.txt", 1, "got '[click](http://x) <img src=x> | *a*'\nnext")
    text = markdown([ticket(evil)], title="# <b>", summary=["<i>"], again="xai check '`x`'")
    outside_code = "".join(part for index, part in enumerate(text.split("``")) if index % 2 == 0)
    assert "<" not in outside_code
    assert "[click](" not in text
    assert "\x1b" not in text
    assert "\\nnext" in text
    assert "`` <script>`rm`</script>\\x1b[2J.txt:1 ``" in text
    assert not any("\x1b" in line or "\n" in line for line in lines([ticket(evil)]))
