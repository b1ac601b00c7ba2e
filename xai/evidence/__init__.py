"""Evidence by experiment: what brings a missed object back, where the detector looks, and what suppresses it."""

from xai.evidence.captions import Caption, write_captioned, write_sheet
from xai.evidence.maps import MIN_MASKS, TRUSTED, explain_maps, turn_map
from xai.evidence.pictures import overlay
from xai.evidence.spend import explain, keep_photos

__all__ = [
    "MIN_MASKS",
    "TRUSTED",
    "Caption",
    "explain",
    "explain_maps",
    "keep_photos",
    "overlay",
    "turn_map",
    "write_captioned",
    "write_sheet",
]
