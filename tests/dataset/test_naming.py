import pytest

from xai.dataset import CODES, misnamed


@pytest.mark.parametrize(
    ("image_id", "found"),
    [("a.jpg", "png"), ("b/a.PNG", "jpeg"), ("a.heic", "jpeg"), ("a.gif", "webp"), ("a.tif", "bmp")],
)
def test_a_name_that_says_another_format_is_reported(image_id: str, found: str) -> None:
    (row,) = misnamed(["fine.jpg", image_id], ["jpeg", found], split="eval").rows(named=True)
    assert (row["image_id"], row["code"], row["split"]) == (image_id, "photo_format_mismatch", "eval")
    assert row["severity"] == CODES["photo_format_mismatch"].severity == "warning"
    assert found.upper() in row["message"]


def test_a_name_that_fits_or_says_nothing_is_not_reported() -> None:
    names = ["a.jpg", "a.JPEG", "a.mpo", "a.png", "a.webp", "a.tiff", "a.dib", "photo", "a.2024-01-01"]
    formats = ["jpeg", "jpeg", "jpeg", "png", "webp", "tiff", "bmp", "png", "jpeg"]
    assert misnamed(names, formats, split="eval").is_empty()
    assert misnamed([], [], split="eval").is_empty()
