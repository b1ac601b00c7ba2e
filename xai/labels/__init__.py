"""Labels that are legal and may be wrong: what is unlike its class, what detections contradict, what was left out."""

from xai.labels.checks import CHECKS, as_issues, from_issues, ordered, review
from xai.labels.export import COCO, CSV, to_coco, to_csv

__all__ = ["CHECKS", "COCO", "CSV", "as_issues", "from_issues", "ordered", "review", "to_coco", "to_csv"]
