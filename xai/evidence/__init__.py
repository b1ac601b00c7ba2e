"""Evidence by experiment: what brings a missed object back, where the detector looks, and what suppresses it."""

from xai.evidence.maps import MIN_MASKS, explain_maps, turn_map
from xai.evidence.spend import explain, keep_photos

__all__ = ["MIN_MASKS", "explain", "explain_maps", "keep_photos", "turn_map"]
