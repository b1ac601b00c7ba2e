"""Labels that are legal and may be wrong: what is unlike its class, what detections contradict, what was left out."""

from xai.labels.checks import CHECKS, from_issues, ordered, review
from xai.labels.export import COCO, CSV, to_coco, to_csv

__all__ = ["CHECKS", "COCO", "CSV", "from_issues", "ordered", "review", "to_coco", "to_csv"]
