"""Shared by all tests: where the real photos are, and an environment that never reaches for the network."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["YOLO_OFFLINE"] = "true"
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

settings.register_profile("repeatable", derandomize=True)

collect_ignore_glob = ["benchmarks/*"]

SHARED_DATA = Path(__file__).resolve().parents[1] / "../shared/data"


@pytest.fixture(scope="module")
def follow_links() -> Iterator[None]:
    """Let links in data sets lead anywhere: what they bring in is the test's own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XAI_FOLLOW_LINKS", "1")
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photos, labels and weights; tests that ask for it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no ../shared/data: real photos are not part of the repository")
    return SHARED_DATA.resolve()
