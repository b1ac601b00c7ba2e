"""Measured properties of photos and of the objects in them. Knows nothing of detectors.

>>> import numpy as np
>>> photo = np.full((48, 64, 3), 255, dtype=np.uint8)
>>> measure([photo]).images["brightness"].tolist()
[1.0]
"""

from attributes.catalog import ATTRIBUTES, Attribute, Bin
from attributes.decode import DecodeError, Photo, read
from attributes.extract import Measured, measure, tag
from attributes.glare import glare_map

__all__ = [
    "ATTRIBUTES",
    "Attribute",
    "Bin",
    "DecodeError",
    "Measured",
    "Photo",
    "glare_map",
    "measure",
    "read",
    "tag",
]
