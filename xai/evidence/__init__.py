"""Evidence by experiment: what brings a missed object back, where the detector looks, and what suppresses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xai import lazy

if TYPE_CHECKING:
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

_HOMES = {
    "MIN_MASKS": "xai.evidence.maps",
    "TRUSTED": "xai.evidence.maps",
    "Caption": "xai.evidence.captions",
    "explain": "xai.evidence.spend",
    "explain_maps": "xai.evidence.maps",
    "keep_photos": "xai.evidence.spend",
    "overlay": "xai.evidence.pictures",
    "turn_map": "xai.evidence.maps",
    "write_captioned": "xai.evidence.captions",
    "write_sheet": "xai.evidence.captions",
}

__getattr__ = lazy.names(__name__, _HOMES)
