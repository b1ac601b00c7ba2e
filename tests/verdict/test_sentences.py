import re
from typing import Any

import pytest

from xai.catalog import CATALOG
from xai.causes import CAUSES
from xai.verdict.phrases import CONDITIONS, REPAIRS
from xai.verdict.scene import Promised, Scene
from xai.verdict.sentences import sentence

FIGURES: dict[str, Any] = {
    "cause": "glare", "attribute": "object_glare", "bin": "strong", "value": 0.41, "scope": "car", "train_count": 21,
    "train_share": 0.021, "train_miss_rate": None, "eval_count": 40, "eval_share": 0.08, "miss_share": 0.41,
    "miss_rate": 0.31, "other_rate": 0.06, "adjusted_risk_ratio": 5.2, "adjusted_low": 3.1, "adjusted_high": 8.4,
    "assessment": "coverage_gap", "elevated": True, "before": 0.1, "after": 0.81, "placebo": 0.15, "succeeded": True,
    "failed": False, "tag_error": None, "hit_placebo": 0.0,
}  # fmt: skip


def scene(condition: dict[str, Any] | None = None, **changes: Any) -> Scene:
    values: dict[str, Any] = {
        "label": "car", "score": 0.22, "iou": 0.7, "condition": condition, "others": [],
        "tried": 0, "restored": [], "untold": [],
        "has_training": True, "is_training_set": True, "score_threshold": 0.25,
        "promise": Promised(True, 0.95, 8, 412),
    }  # fmt: skip
    return Scene(**{**values, **changes})


def test_a_gap_reads_like_this() -> None:
    assert sentence("coverage_gap", scene(FIGURES)) == (
        "Strong glare covers this car (object glare 0.41). Only 2.1% of the training cars have strong glare on them, "
        "8% in the evaluation set. Of such cars, 31% are missed, of others 6% (risk ratio 5.2 at equal size, 95% "
        "interval 3.1–8.4). With the glare toned down, the detector finds it (score × overlap 0.81, 0.10 before; "
        "changes that mean nothing reach 0.15 at most)."
    )


def test_a_tag_that_errs_says_so() -> None:
    doubted = sentence("coverage_gap", scene({**FIGURES, "tag_error": 0.0526}))
    assert doubted.startswith("Strong glare covers this car (object glare 0.41; 5.3% of such tags are wrong). Only ")
    assert "tags" not in sentence("coverage_gap", scene({**FIGURES, "tag_error": 0.0}))
    words = {**FIGURES, "value": None, "tag_error": 0.2}
    assert sentence("coverage_gap", scene(words)).startswith(
        "Strong glare covers this car (20% of such tags are wrong). "
    )


def test_a_hard_condition_says_why_it_is_not_a_gap() -> None:
    plenty = {**FIGURES, "assessment": "hard", "train_share": 0.1, "train_count": 300}
    assert (
        "10% of the training cars have strong glare on them, 8% in the evaluation set: it is hard although there are "
        "examples."
    ) in sentence("hard", scene(plenty))
    there_too = {**plenty, "train_share": 0.02, "train_count": 80, "train_miss_rate": 0.4}
    assert "yet it is hard by itself, since 40% of those are missed too" in sentence("hard", scene(there_too))
    scarce = {**FIGURES, "train_share": 0.08, "train_count": 21}
    assert "Only 21 training cars have strong glare on them (8%; 8% in the evaluation set)." in sentence(
        "coverage_gap", scene(scarce)
    )


def test_unknown_figures_are_left_out() -> None:
    bare = {
        **FIGURES, "value": None, "scope": None, "train_count": 0, "train_share": 0.0, "adjusted_high": None,
        "after": None, "succeeded": None, "failed": None,
    }  # fmt: skip
    assert sentence("coverage_gap", scene(bare)) == (
        "Strong glare covers this car. No training objects have strong glare on them; in the evaluation set, 8% do. "
        "Of such objects, 31% are missed, of others 6% (risk ratio 5.2 at equal size and class, 95% interval from 3.1 "
        "up)."
    )
    alone = {**bare, "other_rate": None, "adjusted_risk_ratio": None, "adjusted_low": None, "train_share": None}
    text = sentence("hard", scene(alone, has_training=False))
    assert "There is no training set to compare with." in text
    assert "No other objects are there to compare with." in text


@pytest.mark.parametrize("label", ["airplane", "wine glass", "person", "veh_01"])
@pytest.mark.parametrize(
    ("name", "attribute", "item"),
    [
        (name, attribute, item)
        for name, cause in CAUSES.items()
        for attribute, items in cause.told_by.items()
        for item in items
    ],
)
def test_every_condition_of_every_cause_reads_well(name: str, attribute: str, item: str, label: str) -> None:
    assert f"{attribute}={item}" in CONDITIONS
    states = (
        {"succeeded": True},
        {"succeeded": False, "failed": True},
        {"succeeded": False},
        {"succeeded": False, "hit_placebo": 0.5},
    )
    for state in states:
        changed = {**FIGURES, "cause": name, "attribute": attribute, "bin": item, "scope": label, **state}
        for verdict in ("coverage_gap", "hard"):
            text = sentence(verdict, scene({**changed, "train_miss_rate": 0.5}, label=label))
            assert label in text
            assert not re.search(r"None|nan|[{}]|  |\.\.", text)


def test_every_repair_has_words() -> None:
    assert {cause.repair for cause in CAUSES.values() if cause.repair} == set(REPAIRS)
    assert {key.split("=")[0] for key in CONDITIONS} - set(CATALOG) <= {"rotation", "roll"}


def test_labels_thresholds_chance_and_unexplained() -> None:
    shifted = sentence("label", scene(score=0.93, iou=0.32, label="airplane"))
    assert shifted == (
        "The detector is sure of an airplane (0.93) of the size of this box, but at another place (overlap 32%): check "
        "the label."
    )
    assert "annotated twice" in sentence("label", scene(iou=0.9))
    assert "check the label" in sentence("label", scene(score=None))
    assert sentence("threshold", scene()) == (
        "The detector scores this car 0.22, just under the deployed threshold of 0.25, and nothing else stands out: a "
        "slightly lower threshold may find it."
    )
    crowded = {**FIGURES, "cause": "crowding", "attribute": "crowding", "bin": "crowded"}
    assert "0.25, and no condition that was measured is likely enough to be named: a slightly lower" in sentence(
        "threshold", scene(others=[crowded])
    )
    assert sentence("chance", scene()) == (
        "Nothing unusual was measured on this car or its photo. 8 of 412 objects are missed, inside the promised "
        "recall of 95%, so misses like this one are expected."
    )
    one = sentence("chance", scene(promise=Promised(True, 0.95, 1, 412)))
    assert "1 of 412 objects is missed" in one
    assert sentence("unexplained", scene()).endswith("Why it is missed, these data do not tell.")


def test_what_was_looked_at_in_vain_is_named() -> None:
    quiet = {**FIGURES, "elevated": False}
    dark = {**quiet, "cause": "darkness", "attribute": "brightness", "bin": "dark"}
    text = sentence("unexplained", scene(others=[quiet, dark], tried=2))
    assert text == (
        "Strong glare covers this car and the photo of it is dark, but objects like it are not missed clearly more "
        "often and none of 2 repairs tried brings it back. Why it is missed, these data do not tell."
    )
    assert "the repair tried does not bring it back" in sentence("unexplained", scene(others=[quiet], tried=1))
    blind = sentence("unexplained", scene(untold=["roll", "object_glare"]))
    assert "Roll and object glare could not be measured here." in blind


def test_an_elevated_condition_that_is_not_named_says_what_outweighs_it() -> None:
    weak = {**FIGURES, "struck": False, "admissible": False, "weight": 0.8}
    assert sentence("unexplained", scene(others=[weak])).startswith(
        "Strong glare covers this car; cars that have strong glare on them are missed 5.2 times as often as "
        "others at equal size, yet what was measured on this miss does not make it likely. "
    )
    struck = sentence("unexplained", scene(others=[{**weak, "struck": True}]))
    assert "yet the way in which the detector lost this one speaks against it." in struck
    silent = sentence("unexplained", scene(others=[{**weak, "weight": 1.2}], tried=1))
    assert "yet nothing that was measured on this miss speaks for it and the repair tried does not bring it" in silent
    rivalled = sentence("unexplained", scene(others=[{**weak, "weight": 1.2, "admissible": True}]))
    assert "yet on this miss other conditions are as likely." in rivalled
    told = sentence("unexplained", scene(others=[{**REPORTED, **weak, "scope": None}], reported=True))
    assert "such photos are reported 5.2 times as often as others, yet " in told


def test_a_condition_is_required_where_the_verdict_names_one() -> None:
    with pytest.raises(ValueError, match="names a condition"):
        sentence("hard", scene())


REPORTED: dict[str, Any] = {
    **FIGURES, "attribute": "glare", "scope": None, "miss_rate": None, "other_rate": None, "eval_share": 0.03,
    "value": 0.7,
}  # fmt: skip


def test_reported_misses_are_compared_with_photos_and_no_rate_is_stated() -> None:
    assert sentence("coverage_gap", scene(REPORTED, reported=True)) == (
        "Strong glare lies over the photo of this car (glare 0.70). 41% of the reported misses are in photos with "
        "strong glare, against 3% of the production photos and 2.1% of the training photos. Such photos are reported "
        "5.2 times as often as others (95% interval 3.1–8.4). With the glare toned down, the detector finds it (score "
        "× overlap 0.81, 0.10 before; changes that mean nothing reach 0.15 at most)."
    )
    tiny = {**FIGURES, "attribute": "object_size", "bin": "tiny", "value": None, "eval_share": None, "after": None}
    tiny |= {"adjusted_risk_ratio": None, "adjusted_low": None}
    assert sentence("hard", scene(tiny, reported=True)) == (
        "This car is tiny in the photo. 41% of the reported misses are tiny, against 2.1% of the training objects. How "
        "often such objects are missed is not known, since nobody labelled the photos."
    )


def test_an_unexplained_miss_says_where_it_was_lost() -> None:
    text = sentence("unexplained", scene(mechanism="wrong_class", seen="truck", score=0.61))
    assert "The detector takes it for a truck (score 0.61)." in text
    poor = sentence("unexplained", scene(mechanism="poor_box", score=0.8, iou=0.38))
    assert "The detector sees a car there (score 0.80), but its surest box overlaps this one by 38% only." in poor
    assert "proposes nothing above noise" in sentence("unexplained", scene(mechanism="no_candidate", score=None))
    low = sentence("unexplained", scene(mechanism="low_score", score=0.12))
    assert "with a score of 0.12, below the deployed threshold of 0.25." in low
    near = sentence("unexplained", scene(mechanism="low_score", score=0.248))
    assert "with a score of 0.248, below the deployed threshold of 0.25." in near
    assert "gave way" in sentence("unexplained", scene(mechanism="suppressed", score=0.5))


def test_what_a_placebo_does_as_well_is_told_with_its_figures() -> None:
    lucky = {**FIGURES, "succeeded": False, "hit_placebo": 1 / 3}
    told = (
        "With the glare toned down, the detector finds it (score × overlap 0.81), but so it does after 33% of the "
        "changes that mean nothing (0.15 at most)."
    )
    assert sentence("hard", scene({**lucky, "train_miss_rate": 0.5})).endswith(told)
    vain = scene(others=[{**FIGURES, "elevated": False}], tried=1, lucky=[("tone_down_glare", 1 / 3, 0.81, 0.15)])
    assert f"and the repair tried does not bring it back. {told} Why it is" in sentence("unexplained", vain)
    same = scene(others=[{**FIGURES, "elevated": False}], lucky=[("zoom_in", 0.0, 0.31, 0.33)])
    assert (
        "Zoomed in, the detector finds it (score × overlap 0.31), but no more surely than without that or after "
        "changes that mean nothing (0.33 at most)."
    ) in sentence("unexplained", same)


def test_a_named_condition_is_followed_by_what_the_detector_made_of_the_object() -> None:
    taken = sentence(
        "hard", scene({**FIGURES, "train_miss_rate": 0.5}, mechanism="wrong_class", seen="truck", score=0.4)
    )
    assert taken.endswith(" The detector takes it for a truck (score 0.40).")
    gave_way = sentence("coverage_gap", scene(FIGURES, mechanism="suppressed", score=0.67))
    assert gave_way.endswith(" The detector sees it (score 0.67), but that box gave way to one that overlaps it.")


def test_a_box_at_the_edge_may_be_whole() -> None:
    cut = {**FIGURES, "cause": "truncation", "attribute": "truncation", "bin": "cut", "elevated": False}
    assert sentence("unexplained", scene(others=[cut])).startswith("This car reaches the photo's edge, but ")
    assert sentence("hard", scene({**cut, "train_miss_rate": 0.5})).startswith(
        "This car is cut off by the photo's edge"
    )


def test_a_case_without_a_box_says_so() -> None:
    text = sentence("unexplained", scene(placed=False, reported=True))
    assert "Nobody said where in the photo it is, so the object itself was not measured and nothing was tried." in text


def test_labels_of_another_frame_say_what_to_set() -> None:
    assert sentence("label", scene(doubt=("exif_mismatch", 0.12, 0.784))) == (
        "The labels of this photo overlap what is detected by 12% as they are, by 78% turned from the photo as stored "
        "into the photo as displayed, so that this car seems to lie elsewhere: set label_frame: stored if all labels "
        "were drawn so, or draw them on the photo as displayed."
    )


def test_few_training_objects_of_a_larger_share_are_not_called_only_so_many() -> None:
    few = {**FIGURES, "train_share": 0.12, "train_count": 31}
    told = sentence("coverage_gap", scene(few))
    assert (
        "31 training cars have strong glare on them: a larger share than in the evaluation set (12%; 8%), but few to "
        "learn from."
    ) in told
    assert "Only" not in told


def test_a_risk_whose_own_interval_excludes_one_may_still_be_chance() -> None:
    calm = {**FIGURES, "elevated": False}
    assert "which among so many comparisons may be chance." in sentence("coverage_gap", scene(calm))
    open_ = {**calm, "adjusted_low": 0.8}
    assert "which alone does not show it." in sentence("coverage_gap", scene(open_))


def test_what_the_detector_told_of_a_photo_is_not_said_to_be_measured() -> None:
    turned = {
        **FIGURES, "cause": "rotation", "attribute": "rotation", "bin": "90", "value": 90.0, "scope": None,
        "asked": True, "elevated": False, "eval_share": 0.0, "train_count": 0, "train_share": 0.0,
    }  # fmt: skip
    assert sentence("coverage_gap", scene(turned)) == (
        "The detector is surer of the photo turned, as where the photo of this car lies on its side (rotation 90°). "
        "No training objects are in photos that lie on this side. With the photo turned upright, the detector finds "
        "it (score × overlap 0.81, 0.10 before; changes that mean nothing reach 0.15 at most)."
    )


def test_a_part_that_the_detector_sees_does_not_show_what_hides_the_rest() -> None:
    hidden = {
        **FIGURES, "cause": "occlusion", "attribute": "occlusion", "bin": "much", "value": None, "after": None,
        "elevated": False,
        "part_side": "top", "part_before": 0.13, "part_after": 0.27,
    }  # fmt: skip
    assert sentence("hard", scene(hidden)).startswith(
        "The detector sees the upper part of this car better than all of it (score × overlap 0.27, 0.13 for the "
        "whole), as it does where something hides the rest. "
    )
    measured = sentence("hard", scene({**hidden, "value": 0.7}))
    assert measured.startswith("Much of this car is hidden by what is in front of it (occlusion 0.70). The detector ")
