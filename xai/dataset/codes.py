"""The problems that a data set can have, and how they become rows of the issues table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import polars as pl

from xai import tables

Severity = Literal["error", "warning", "info"]


class Code(NamedTuple):
    """What an issue code stands for.

    Attributes:
        severity: ``error`` = the label row, label file or photo is not used; ``warning`` = it is used, left out on
            purpose or changed, and somebody should look; ``info`` = legal, worth knowing.
        meaning: what was found.
        advice: what to do about it.
    """

    severity: Severity
    meaning: str
    advice: str


CODES: Mapping[str, Code] = {
    # the label file
    "unreadable_label_file": Code(
        "error", "the label file cannot be read; its photo is left out", "export the file again"
    ),
    "unparsable_line": Code(
        "error", "the row is not text, its class no whole number, or the annotation no object", "correct the row"
    ),
    "wrong_field_count": Code(
        "error", "the row has more or fewer fields than a box needs", "write one class and one box a row or object"
    ),
    "missing_field": Code("error", "the object has no class name or no complete box", "complete the object"),
    "not_a_number": Code("error", "a coordinate is not a number", "correct the row"),
    "not_finite": Code("error", "a coordinate is infinite or NaN", "correct the row"),
    "class_out_of_range": Code(
        "error", "the class number has no name", "use the list of names that the labels were written with"
    ),
    "class_numbers_with_gaps": Code(
        "warning",
        "the names are not numbered 0, 1, 2 and so on",
        "check that the labels use these numbers, else classes swap names",
    ),
    "normalised_pixel_mixup": Code(
        "error", "fractions where pixels are expected, or the reverse", "export with the format's own unit"
    ),
    "unclear_flag": Code(
        "warning", "'difficult' or 'iscrowd' is neither 0 nor 1; the object is scored", "write 0 or 1"
    ),
    "duplicate_annotation_id": Code(
        "warning", "another annotation has the same id; both are used", "number the annotations anew"
    ),
    "too_many_columns": Code(
        "warning", "the labels have more columns of their own than can be told apart; the first are kept", "drop some"
    ),
    # the box
    "negative_area": Code("error", "right is left of left, or bottom above top", "swap or redraw the corners"),
    "zero_area": Code("error", "the box has no area", "redraw or delete the box"),
    "box_off_photo": Code("error", "the whole box lies outside the photo", "redraw or delete the box"),
    "box_outside_photo": Code("warning", "the box sticks out of the photo; it was clipped", "redraw the box"),
    "duplicate_box": Code(
        "warning", "the object repeats another of its class in the photo; it is not scored", "delete one of the two"
    ),
    # the photo
    "photo_missing": Code("error", "the photo is named and not there", "restore the photo or take its name out"),
    "photo_empty": Code("error", "the photo's file is empty", "copy the photo again"),
    "photo_unreadable": Code("error", "the file is no photo that can be decoded", "convert it to JPEG or PNG"),
    "photo_truncated": Code("error", "the photo's file ends early", "copy the photo again"),
    "photo_crashes": Code(
        "error",
        "the photo ended the process that worked on it, twice; that work was left out",
        "save it anew with another program, or leave it out",
    ),
    "photo_changed": Code(
        "warning",
        "the photo was gone, or another, when the detector was to see it again; its misses were not experimented on",
        "run the same command again once the photos stay as they are",
    ),
    "label_changed": Code(
        "warning",
        "the label file changed while the run went on; the run is of what was read at its beginning",
        "run the same command again",
    ),
    "photo_too_large": Code("error", "the photo is too large to decode safely", "scale it down"),
    "photo_format_mismatch": Code(
        "warning", "the file is a photo of another format than its name says; it was read", "rename or convert the file"
    ),
    "photo_without_label": Code(
        "warning", "nobody annotated the photo; it is left out", "annotate it, or add a label file without objects"
    ),
    "background_photo": Code("info", "no label file: by convention a photo without objects", "check that it has none"),
    "label_without_photo": Code(
        "error", "the photo of the label or label file is not there", "restore the photo or delete its labels"
    ),
    "annotation_without_photo": Code(
        "error", "the annotation names no photo of the list", "restore the photo or delete the annotation"
    ),
    "photo_without_name": Code(
        "error", "an entry of the list of photos has no id or no file name", "complete the entry or export again"
    ),
    "duplicate_image_id": Code(
        "error", "photos share an id and nobody can tell whose the labels are; they are left out", "number them anew"
    ),
    "photo_not_listed": Code(
        "info", "photos in the folder that the label file does not name; they are no part of the set", "name them if so"
    ),
    "size_mismatch": Code(
        "warning",
        "the label file states another photo size than the photo has",
        "label the photo as it is displayed, at its full size",
    ),
    "label_frame_stored": Code(
        "warning",
        "the labels were drawn on the photo before it was turned; the boxes were turned with it",
        "set label_frame: stored if all labels were, or draw them on the photo as displayed",
    ),
    "exif_mismatch": Code(
        "warning",
        "the labels fit what is detected once they are turned with the photo, and were not moved",
        "set label_frame: stored if all labels were drawn so, or draw them on the photo as displayed",
    ),
    "path_leaves_root": Code(
        "error", "a listed path or a link leads out of the data set", "copy the files into it; XAI_FOLLOW_LINKS=1"
    ),
    "path_not_unicode": Code("error", "the file's name is not valid UTF-8; it is left out", "rename the file"),
    "listed_twice": Code("info", "the split lists the photo more than once; it counts once", "remove the repetition"),
    # the data set
    "duplicate_photo": Code("warning", "another photo of the split has the same content", "remove one of the two"),
    "leaked_photo": Code(
        "warning", "the photo is in the training set and in the evaluation set", "remove it from one of them"
    ),
    "class_not_in_detector": Code(
        "info", "the detector lacks the class; its objects are not scored", "map the class under data.classes"
    ),
    "class_mapping_unused": Code(
        "info", "data.classes renames a class that the split does not have", "check the spelling"
    ),
    "class_new": Code(
        "warning", "the class is not in the training profile", "train on it, or map its name under data.classes"
    ),
    "class_gone": Code(
        "info", "the training profile has the class and this data set does not", "check that nothing was lost"
    ),
    "class_renamed": Code(
        "warning", "the class looks like one of the training profile by another name", "map it under data.classes"
    ),
    "class_spelling": Code(
        "warning", "a rare class is spelled almost like a frequent one", "if they are one class, rename the rare one"
    ),
    "implausible_box": Code(
        "warning", "the box is legal and unlike the others of its class", "look at the box, redraw it if wrong"
    ),
    "twin_box": Code(
        "warning", "another label of its class has nearly the same box; both are scored", "delete one of the two"
    ),
    "implausible_value": Code(
        "warning", "the number is legal and ten times or more off, as if its dot were misplaced", "correct the number"
    ),
    "repeated_box": Code(
        "info",
        "one box stands at exactly the same place in many photos",
        "check that it is not a default or a copy; it is right where camera and object stand still",
    ),
    # what is known besides
    "metadata_without_photo": Code(
        "info", "the metadata has a row about a photo that the data set lacks", "check the spelling of image_id"
    ),
    "case_found": Code("info", "the detector finds the reported object", "check the deployed model and threshold"),
    "case_not_understood": Code("error", "the reported case cannot be read", "correct the row"),
    "case_without_photo": Code("error", "the photo of the reported case is not there", "correct its name"),
    "case_unknown_class": Code(
        "warning", "the detector lacks the class of the reported case", "map the class under data.classes"
    ),
    "case_repeated": Code(
        "info", "the report repeats another of the photo; it counts once", "give boxes if these are two objects"
    ),
    "case_ambiguous": Code(
        "info", "no box was given and the detector found other objects of the class", "report the miss with its box"
    ),
    "audit_photo_not_drawn": Code(
        "warning", "the labelled photo is not of the sample that was drawn", "label the photos that xai sample drew"
    ),
    "audit_photo_unlabelled": Code(
        "warning", "a photo of the drawn sample is not labelled", "label it too; a photo without objects counts as well"
    ),
    "profile_other_weights": Code(
        "warning",
        "the profile's object features were made by other weights; how novel objects are is not told",
        "make the profile again with the detector",
    ),
    # what the detections of a whole split make doubtful
    "detector_silent": Code(
        "warning",
        "the detector found nothing at all",
        "check the weights, how photos are prepared for it, and the score threshold",
    ),
    "boxes_as_fractions": Code(
        "warning", "detected boxes look like fractions of the photo", "give boxes in pixels of the photo"
    ),
    "boxes_off_photo": Code(
        "warning",
        "most detected boxes leave their photo",
        "give boxes as the format says (COCO: x, y, width, height), in pixels of the photo at its full size",
    ),
    "class_never_detected": Code(
        "warning",
        "the detector never says a class that is annotated often",
        "check the class names and their order, and data.classes",
    ),
}
"""Code → severity, meaning, advice; the ``photo_*`` codes of ``attributes.decode.DecodeError`` included."""

Row = dict[str, Any]


def issue(code: str, message: str, *, split: str | None, image_id: str | None = None, file: str | None = None) -> Row:
    """Return one row of the issues table about a file, a photo or a data set."""
    return {
        "split": split,
        "image_id": image_id,
        "code": code,
        "severity": CODES[code].severity,
        "message": message,
        "file": file,
    }


def table(rows: Iterable[Row]) -> pl.DataFrame:
    """Return rows made by ``issue`` as a table with the columns of ``tables.ISSUES``."""
    return pl.DataFrame(list(rows), schema=dict(tables.ISSUES))


def from_labels(labels: pl.DataFrame, *, split: str | None) -> pl.DataFrame:
    """Return an issue for every label row whose ``code`` is not null.

    Args:
        labels: label rows with ``code`` and ``message``; ``object_id`` where the row is an object.
        split: what the issues name as the split; null leaves it to the caller.
    """
    severities = {code: entry.severity for code, entry in CODES.items()}
    found = labels.filter(pl.col("code").is_not_null()).with_columns(
        split=pl.lit(split, dtype=pl.String),
        severity=pl.col("code").replace_strict(severities, return_dtype=pl.String),
    )
    return tables.conform(found, tables.ISSUES).select(list(tables.ISSUES))
