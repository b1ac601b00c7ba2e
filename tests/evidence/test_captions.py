from pathlib import Path

import numpy as np
import pytest

from attributes.decode import read
from xai.evidence.captions import Caption, captioned, write_captioned, write_sheet
from xai.evidence.pictures import HELPS, SUPPRESSES

PHOTO = np.full((60, 200, 3), 90, np.uint8)


def test_the_picture_stays_and_the_scale_runs_from_what_holds_back_to_what_helps() -> None:
    found = captioned(PHOTO, Caption(("dog",), 0.25))
    assert found.shape[1] == 200
    assert (found[:60] == PHOTO).all()
    row = found[60 + 8 + 5]
    assert row[8].tolist() == list(SUPPRESSES)
    assert row[-9].tolist() == list(HELPS)
    assert np.abs(row[100].astype(int) - 128).max() < 5
    assert (found[60 + 20 :] < 100).any(), "text"


def test_text_that_is_too_wide_goes_on_in_the_next_line() -> None:
    short = captioned(PHOTO, Caption(("dog",), 0.25))
    long = captioned(PHOTO, Caption(("overlap and score and " * 5, "Donaudampfschifffahrtsgesellschaft" * 3), 0.25))
    assert long.shape[0] > short.shape[0] + 2 * 18
    assert captioned(PHOTO, Caption(("dog",), 0.25, trusted=False)).shape[0] > short.shape[0]


def test_files(tmp_path: Path) -> None:
    write_sheet(
        [(PHOTO, Caption(("a",), 1.0)), (PHOTO[:30], Caption(("b",), 2.0))] * 2, tmp_path / "x" / "s.png", columns=3
    )
    sheet = read(tmp_path / "x" / "s.png").pixels
    assert sheet.shape[1] == 3 * 308
    assert (sheet[0, 300:308] == 255).all()
    write_captioned(tmp_path / "x" / "s.png", tmp_path / "c.png", Caption(("c",), 1.0))
    assert read(tmp_path / "c.png").pixels.shape[0] > len(sheet)
    with pytest.raises(ValueError, match="at least one picture"):
        write_sheet([], tmp_path / "none.png")


def test_signs_and_names_of_any_alphabet_are_drawn() -> None:
    """A font draws all that it lacks alike, so each of these must differ from a character that nobody has."""
    lacking = captioned(PHOTO, Caption(("\uffff",), 0.25))
    for character in "×−éжλ":
        assert not np.array_equal(captioned(PHOTO, Caption((character,), 0.25)), lacking), character
