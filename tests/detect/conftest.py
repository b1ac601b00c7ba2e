from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "../shared/data"


@pytest.fixture(scope="session")
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"real photos are absent: {DATA}")
    return DATA.resolve()


@pytest.fixture(scope="session")
def yolo_weights(data: Path) -> Path:
    pytest.importorskip("ultralytics", reason="the yolo extra is not installed")
    return data / "weights" / "yolo11n_coco.pt"
