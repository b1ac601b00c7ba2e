import numpy as np
import polars as pl
import pytest
from statsmodels.stats.proportion import proportion_confint
from toy_detector import ToyDetector, photo_with

from xai import tables
from xai.evidence.stress import CONDITIONS, FORWARDS, breaks, interval, stress
from xai.types import Pixels

BOX = (32, 24, 64, 56)


def found(photos: int) -> pl.DataFrame:
    x1, y1, x2, y2 = (float(corner) for corner in BOX)
    ids = [f"{index}.jpg" for index in range(photos)]
    return pl.DataFrame({"image_id": ids, "label": "red", "x1": x1, "y1": y1, "x2": x2, "y2": y2, "object_size": 0.3})


IMAGES = pl.DataFrame(
    {"image_id": ["a", "b", "c", "d"], "brightness": [0.02, 0.3, 0.4, None], "roll": [-30.0, 1, 2, 3]}
)


def run(photos: int = 3, budget: int = 10 * FORWARDS, detector: ToyDetector | None = None) -> pl.DataFrame:
    def load(image_id: str) -> Pixels:
        return photo_with(BOX)

    return stress(
        found(photos), IMAGES, None, load_pixels=load, detector=detector or ToyDetector(), budget=budget, recall=0.9,
        match_iou=0.5, seed=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def curves() -> pl.DataFrame:
    return run()


def test_one_row_per_condition_and_dose(curves: pl.DataFrame) -> None:
    assert curves.schema == pl.Schema(tables.BESIDE["stress"])
    expected = [(name, dose) for name, item in CONDITIONS.items() for dose in item.doses]
    assert curves.select("condition", "dose").rows() == expected
    assert curves.select(
        low=pl.col("recall_low") <= pl.col("recall"), high=pl.col("recall") <= pl.col("recall_high")
    ).row(0) == (True, True)


def test_a_score_that_is_linear_in_light_breaks_where_the_light_falls_below_the_threshold(curves: pl.DataFrame) -> None:
    """Half the encoded light is left at 2.2 stops: two are survived, four are not."""
    dark = curves.filter(condition="darkness")
    assert dark["recall"].to_list() == [1.0, 0.0, 0.0, 0.0]
    assert dark["breaks"].unique().to_list() == [pytest.approx(2.2)]
    assert dark["objects"].to_list() == dark["photos"].to_list() == [3, 3, 3, 3]


def test_turned_photos_are_lost_and_their_doses_stand_alone(curves: pl.DataFrame) -> None:
    assert curves.filter(condition="rotation")["recall"].to_list() == [0.0, 0.0, 0.0]
    assert curves.filter(condition="small_object")["recall"][-1] == 0.0


def test_photos_have_a_place_on_the_axis(curves: pl.DataFrame) -> None:
    darkest = curves.filter(condition="darkness", dose=6.0).row(0, named=True)
    assert darkest["value"] == pytest.approx(0.16 * 0.35, abs=0.1)
    assert darkest["eval_beyond"] == pytest.approx(1 / 3)
    assert darkest["train_beyond"] is None
    assert curves.filter(condition="tilt")["attribute"].unique().to_list() == ["roll"]


def test_the_budget_bounds_the_forwards_and_nothing_costs_nothing() -> None:
    detector = ToyDetector()
    assert run(photos=5, budget=2 * FORWARDS + 1, detector=detector)["photos"].unique().to_list() == [2]
    assert detector.forwards == 2 * FORWARDS
    idle = ToyDetector()
    assert run(budget=FORWARDS - 1, detector=idle).is_empty()
    assert idle.forwards == 0


def test_the_same_seed_gives_the_same_curves(curves: pl.DataFrame) -> None:
    assert run().equals(curves)


def test_breaks_lies_between_doses_and_ignores_what_recovers() -> None:
    assert breaks([1.0, 2.0, 3.0], [0.8, 1.0, 0.9], 0.9) == pytest.approx(0.5)
    assert breaks([1.0, 2.0], [1.0, 0.9], 0.9) is None
    assert breaks([4.0], [0.0], 0.5) == pytest.approx(2.0)
    assert breaks([3.0], [0.0], 0.5, start=1.0) == pytest.approx(2.0), "from where nothing is changed"


def test_the_interval_is_exact_at_the_ends_and_widens_with_photos_that_fail_together() -> None:
    alone = np.array([[1, 1]] * 20)
    assert interval(alone) == pytest.approx(proportion_confint(20, 20, method="beta"))
    assert interval(1 - np.array([[0, 1]] * 20)) == pytest.approx(proportion_confint(0, 20, method="beta"))
    single = np.array([[1, index % 2] for index in range(40)])
    clustered = np.array([[10, 10 * (index % 2)] for index in range(4)])
    low, high = interval(single)
    assert (low, high) == pytest.approx(proportion_confint(20, 40, method="beta"), abs=0.01)
    wide = interval(clustered)
    assert wide[0] < low
    assert wide[1] > high
