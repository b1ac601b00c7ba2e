"""Evidence by experiment: what brings a missed object back, where the detector looks, and what suppresses it."""

from xai.evidence.spend import explain

__all__ = ["explain"]
