"""Rules of the contract that several stages apply, so that none of them has a version of its own."""

from __future__ import annotations

MISSES = ("missed", "confused", "mislocated")
"""Outcomes of an object that is not found, and kinds of the error that it is."""

ELEVATED = ("coverage_gap", "hard")
"""Assessments of bins whose risk is shown to be elevated."""

RARE_SHARE = 0.5
"""A bin is rare in training below this part of its share of the evaluation set ..."""

RARE_COUNT = 50
"""... or with fewer training objects than this."""

DOUBTS = ("detector_silent", "boxes_as_fractions", "boxes_off_photo", "class_never_detected")
"""Codes of issues that make all detections of a split doubtful; a run says them before anything else."""
