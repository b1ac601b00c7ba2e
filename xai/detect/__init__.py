"""Detectors behind one protocol, matching of their detections, and the mechanism of every miss."""

from xai.detect.detector import load
from xai.detect.error_rows import errors
from xai.detect.matching import match
from xai.detect.mechanism import mechanisms, summarise

__all__ = ["errors", "load", "match", "mechanisms", "summarise"]
