"""Detectors behind one protocol, matching of their detections, and the mechanism of every miss."""
