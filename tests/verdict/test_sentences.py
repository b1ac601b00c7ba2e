import re
from typing import Any

import pytest

from xai.catalog import CATALOG
from xai.causes import CAUSES
from xai.verdict.phrases import CONDITIONS, REPAIRS
from xai.verdict.scene import Promised, Repaired, Scene
from xai.verdict.sentences import sentence

FIGURES: dict[str, Any] = {
    "cause": "glare", "attribute": "object_glare", "bin": "strong", "value": 0.41, "scope": "car", "train_count": 21,
    "train_share": 0.021, "train_miss_rate": None, "eval_count": 120, "eval_share": 0.08, "miss_share": 0.41,
    "miss_rate": 0.31, "other_rate": 0.06, "adjusted_risk_ratio": 5.2, "adjusted_low": 3.1, "adjusted_high": 8.4,
    "assessment": "coverage_gap", "elevated": True, "before": 0.1, "after": 0.81, "placebo": 0.15, "succeeded": True,
    "failed": False, "tag_error": None, "hit_placebo": 0.0,
}  # fmt: skip


def scene(condition: dict[str, Any] | None = None, **changes: Any) -> Scene:
    values: dict[str, Any] = {
        "label": "car", "score": 0.22, "iou": 0.7, "condition": condition, "others": [],
        "restored": [], "untold": [],
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
    assert sentence("label", scene(doubt=("label_box", 0.32, 0.48))) == (
        "The detector's box of a car (score 0.48) lies inside this one and is much smaller (overlap 32%): the label is "
        "too large, or only a part is seen: look at it."
    )
    unsure = sentence("label", scene(doubt=("label_class", 0.8, 0.46), seen="truck"))
    assert unsure.startswith("The detector sees a truck (0.46) in this very box (overlap 80%) and nothing of a car ")
    assert "check the label" in sentence("label", scene(score=None))
    assert sentence("threshold", scene()) == (
        "The detector scores this car 0.22, just under the deployed threshold of 0.25, and nothing else stands out: a "
        "slightly lower threshold may find it."
    )
    crowded = {**FIGURES, "cause": "crowding", "attribute": "crowding", "bin": "crowded"}
    edge = sentence("threshold", scene(idle=(2, 3, 0.3)))
    assert edge.endswith(" 2 of 3 changes that mean nothing find it: it lies on the edge of being found.")
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
    quiet = {**FIGURES, "elevated": False, "succeeded": False, "failed": True}
    dark = {**quiet, "cause": "darkness", "attribute": "brightness", "bin": "dark"}
    text = sentence("unexplained", scene(others=[quiet, dark]))
    assert text == (
        "Strong glare covers this car and the photo of it is dark, but objects like it are not missed clearly more "
        "often and neither toning the glare down nor lifting the shadows brings it back. Why it is missed, these data "
        "do not tell."
    )
    assert "often and toning the glare down does not bring it back." in sentence("unexplained", scene(others=[quiet]))
    # A repair is told of the conditions that are named alone.
    unnamed = [{**quiet, "failed": None}, {**dark, "failed": None}, {**dark, "cause": "blur"}]
    assert "back" not in sentence("unexplained", scene(others=unnamed))
    blind = sentence("unexplained", scene(untold=["roll", "object_glare"]))
    assert "Roll and object glare could not be measured here." in blind


def test_an_elevated_condition_that_is_not_named_says_what_outweighs_it() -> None:
    weak = {**FIGURES, "struck": False, "admissible": False, "weight": 0.8}
    assert sentence("unexplained", scene(others=[weak])).startswith(
        "Strong glare covers this car; cars that have strong glare on them are missed 5.2 times as often as "
        "others at equal size, yet that alone is too little to name it as the cause. "
    )
    struck = sentence("unexplained", scene(others=[{**weak, "struck": True}]))
    assert "yet the way in which the detector lost this one speaks against it." in struck
    silent = sentence("unexplained", scene(others=[{**weak, "weight": 1.2, "failed": True}]))
    assert "yet nothing that was measured on this miss speaks for it and toning the glare down does not" in silent
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
    assert "proposes nothing above noise" in sentence("unexplained", scene(mechanism="no_candidate", score=None))
    poor = sentence("unexplained", scene(mechanism="poor_box", score=0.8, iou=0.38))
    assert "The detector sees a car there (score 0.80), but its surest box overlaps this one by 38% only." in poor
    near = sentence("unexplained", scene(mechanism="poor_box", score=0.8, iou=0.495, own=0.21))
    assert (
        "its surest box overlaps this one by 49.5% only, under the 50% that count; a box that fits scores 0.21, under "
        "the threshold of 0.25."
    ) in near
    faint = sentence("unexplained", scene(mechanism="poor_box", score=0.032, iou=0.32))
    assert (
        "The detector has only a faint guess of a car there (score 0.03, threshold 0.25), which overlaps this one by "
        "32%."
    ) in faint
    low = sentence("unexplained", scene(mechanism="low_score", score=0.13))
    assert "The detector scores it 0.13, under the deployed threshold of 0.25." in low
    assert "scores it 0.248, under" in sentence("unexplained", scene(mechanism="low_score", score=0.248))
    guess = sentence("unexplained", scene(mechanism="low_score", score=0.03))
    assert "The detector has only a faint guess of it (score 0.03, threshold 0.25)." in guess


def test_a_box_that_counts_for_a_neighbour_is_called_so() -> None:
    dropped = sentence("unexplained", scene(mechanism="suppressed", score=0.35, iou=0.52))
    assert "A box that overlaps it by 52% (score 0.35) was dropped for a surer one. Why it is missed" in dropped
    shared = sentence("unexplained", scene(mechanism="suppressed", score=0.57, claimed=True, covered=True))
    assert shared.endswith("One box (score 0.57) covers this car and its neighbour, and counts for the neighbour.")
    beside = sentence("unexplained", scene(mechanism="poor_box", score=0.55, iou=0.33, claimed=True))
    assert "The detector's box of a car there (score 0.55) overlaps this one by 33% and counts for another" in beside


def test_another_class_is_told_by_how_its_box_fits() -> None:
    called = scene(mechanism="wrong_class", seen="truck", score=0.61, iou=0.9, own=0.1)
    assert "The detector calls it a truck (score 0.61; as a car 0.10). Why it is" in sentence("unexplained", called)
    both = sentence("unexplained", scene(mechanism="wrong_class", seen="truck", score=0.61, iou=0.9, own=0.41))
    assert (
        "The detector calls it a truck (score 0.61); as a car it scores 0.41 there, above the threshold, but that "
        "box is not among the detections."
    ) in both
    loose = sentence("unexplained", scene(mechanism="wrong_class", seen="dining table", score=0.64, iou=0.51))
    assert "reports a dining table (score 0.64) that overlaps it by 51%, which may be another object." in loose
    theirs = {"mechanism": "wrong_class", "seen": "person", "score": 0.54, "iou": None, "box_iou": 0.67}
    assert "(score 0.54) that overlaps it by 67% and counts for another object." in sentence(
        "unexplained", scene(**theirs, claimed=True)
    )
    guess = sentence("unexplained", scene(**{**theirs, "score": 0.15, "box_iou": None}))
    assert "The detector's surest guess there is a person (score 0.15, threshold 0.25)." in guess


def test_a_class_that_no_label_has_asks_to_check_the_labels_where_it_recurs() -> None:
    odd = {"mechanism": "wrong_class", "seen": "truck", "score": 0.61, "iou": 0.9, "own": 0.3, "unused": True}
    assert sentence("unexplained", scene(**odd, likewise=14)).endswith(
        "The detector calls it a truck (score 0.61), like 14 other missed cars; these labels never use that class: "
        "check which class such objects should have. As a car it scores 0.30 there, above the threshold, but that "
        "box is not among the detections."
    )
    once = sentence("unexplained", scene(**odd, likewise=1))
    assert "a class that these labels never use. As a car" in once
    assert once.endswith("Why it is missed, these data do not tell.")


def test_what_a_placebo_does_as_well_is_told_with_its_figures() -> None:
    lucky = {**FIGURES, "succeeded": False, "hit_placebo": 1 / 3}
    told = (
        "With the glare toned down, the detector finds it (score × overlap 0.81), but so it does after 1 of 3 changes "
        "that mean nothing (0.14)."
    )
    assert sentence("hard", scene({**lucky, "train_miss_rate": 0.5}, idle=(1, 3, 0.14))).endswith(told)
    failed = {**FIGURES, "succeeded": False, "failed": True, "train_miss_rate": 0.5}
    assert sentence("hard", scene(failed, idle=(1, 3, 0.14))).endswith(
        "back (score × overlap 0.81, 0.10 before). 1 of 3 changes that mean nothing finds it: it lies on the edge of "
        "being found."
    )
    quiet = {**FIGURES, "elevated": False}
    vain = scene(others=[quiet], lucky=[Repaired("tone_down_glare", 0.1, 0.81, 0.15, 1 / 3)], idle=(1, 3, 0.14))
    assert "often. 1 of 3 changes that mean nothing finds it: it lies on" in sentence("unexplained", vain)
    as_is = scene(others=[quiet], lucky=[Repaired("zoom_in", 0.4, 0.5, 0.4, 1.0)], idle=(3, 3, 0.4), covered=True)
    assert "A box covers it in the photo as it is, so that changes of the photo tell nothing." in sentence(
        "unexplained", as_is
    )
    same = scene(others=[quiet], lucky=[Repaired("zoom_in", 0.2, 0.31, 0.33, 0.0)])
    assert (
        "Zoomed in, the detector finds it (score × overlap 0.31), but no more surely than without that or after "
        "changes that mean nothing (0.33 at most)."
    ) in sentence("unexplained", same)


def test_a_named_condition_is_followed_by_what_the_detector_made_of_the_object() -> None:
    taken = sentence(
        "hard", scene({**FIGURES, "train_miss_rate": 0.5}, mechanism="wrong_class", seen="truck", score=0.4)
    )
    assert taken.endswith(
        " The detector reports a truck (score 0.40) that overlaps it by 70%, which may be another object."
    )
    dropped = sentence("coverage_gap", scene(FIGURES, mechanism="suppressed", score=0.67))
    assert dropped.endswith(" A box that overlaps it by 70% (score 0.67) was dropped for a surer one.")
    faint = sentence("coverage_gap", scene(FIGURES, mechanism="low_score", score=0.2))
    assert faint.endswith(" The detector scores it 0.20, under the deployed threshold of 0.25.")


def test_a_box_at_the_edge_may_be_whole() -> None:
    cut = {**FIGURES, "cause": "truncation", "attribute": "truncation", "bin": "cut", "elevated": False}
    assert sentence("unexplained", scene(others=[cut])).startswith("This car reaches the photo's edge, but ")
    assert sentence("hard", scene({**cut, "train_miss_rate": 0.5, "succeeded": False})).startswith(
        "Suspected, not shown: this car is cut off by the photo's edge (41% of its outline lies on the edge). "
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
        "31 training cars have strong glare on them (12%; 8% in the evaluation set), under the 50 that are asked for."
    ) in told
    assert "Only" not in told


def test_a_risk_whose_own_interval_excludes_one_may_still_be_chance() -> None:
    calm = {**FIGURES, "elevated": False}
    assert "which among so many comparisons may be chance." in sentence("coverage_gap", scene(calm))
    rare = sentence("coverage_gap", scene({**calm, "tail_share": 0.012, "succeeded": False, "failed": True}))
    assert rare.startswith(
        "Suspected, not shown: strong glare covers this car (object glare 0.41; at most 1.2% of found objects are as "
        "extreme). "
    )
    none = {**calm, "bin": "dark", "attribute": "object_brightness", "train_count": 0, "train_share": 0.0}
    assert "No training cars are dark; in the evaluation set, 8% are." in sentence("coverage_gap", scene(none))
    open_ = {**calm, "adjusted_low": 0.8}
    assert "interval 0.80–8.4), which may be chance." in sentence("coverage_gap", scene(open_))
    less = sentence("coverage_gap", scene({**open_, "adjusted_risk_ratio": 0.9}))
    assert "interval 0.80–8.4), so at equal size they are not missed more often." in less
    fewer = sentence("coverage_gap", scene({**open_, "adjusted_risk_ratio": 0.9, "miss_rate": 0.05, "eval_count": 20}))
    assert "Of 20 such cars, 1 is missed, of others 6% (risk ratio 0.90 at equal size, " in fewer
    assert ", so such cars are not missed more often here." in fewer


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
        "whole): something may hide the rest."
    )
    # Shares and rates are of objects that boxes cover, which nothing says of this one.
    assert "evaluation set" not in sentence("hard", scene(hidden))
    measured = sentence("hard", scene({**hidden, "value": 0.7, "elevated": True, "train_miss_rate": 0.5}))
    assert measured.startswith("Boxes in front cover much of this car (70% of its box). The detector ")


def test_what_lies_beyond_a_percentile_of_training_is_compared_with_what_always_does() -> None:
    novel = {
        **FIGURES, "cause": "unusual_view", "attribute": "novelty", "bin": "novel", "value": 98.4, "scope": None,
        "eval_share": 0.066, "train_count": 43, "train_share": 0.046, "train_miss_rate": 0.35, "after": None,
    }  # fmt: skip
    small = {**FIGURES, "cause": "small_object", "attribute": "object_size", "bin": "small"}
    assert sentence("hard", scene(novel, others=[small])).startswith(
        "This car looks unlike the examples of its class (further from them than 98% of the training objects of its "
        "class). 6.6% of the evaluation objects look so unlike the others of their class; about 5% would if both sets "
        "were alike. Of such training objects 35% are missed. Of such objects, 31% are missed, of others 6% (risk "
        "ratio 5.2 at equal size and class, 95% interval 3.1–8.4). Beside that, it is small in the photo."
    )


def test_changes_that_bring_it_back_without_a_cause_are_told_with_their_figures() -> None:
    room, zoomed = Repaired("pad", 0.1, 0.26, 0.16), Repaired("zoom_in", 0.1, 0.53, 0.16)
    one = sentence("unexplained", scene(others=[{**FIGURES, "elevated": False}], restored=[room]))
    assert (
        "With room added at the edge, the detector finds it (score × overlap 0.26, 0.10 before; changes that mean "
        "nothing reach 0.16 at most), which alone does not show the cause."
    ) in one
    assert sentence("threshold", scene(restored=[room, zoomed])).endswith(
        "Several changes bring it back, so that none alone shows the cause: zoomed in (0.53) and with room added at "
        "the edge (0.26); score × overlap, 0.10 before; changes that mean nothing reach 0.16 at most."
    )


def test_how_extreme_a_value_is_is_told_of_values_measured_on_labelled_photos_alone() -> None:
    doubted = {**FIGURES, "elevated": False, "succeeded": False, "failed": True, "tail_share": 0.02}
    assert "at most 2% of found objects" in sentence("hard", scene(doubted))
    assert "as extreme" not in sentence("hard", scene(doubted, reported=True))
    assert "as extreme" not in sentence("hard", scene({**doubted, "value": None}))
    turned = {**doubted, "cause": "rotation", "attribute": "rotation", "bin": "180", "value": 180.0}
    assert "as extreme" not in sentence("hard", scene(turned))


def test_one_training_object_is_one() -> None:
    gap = {**FIGURES, "train_count": 1, "train_share": 0.002, "scope": "car"}
    assert "there is one such car (0.20%; " in sentence("coverage_gap", scene(gap))
