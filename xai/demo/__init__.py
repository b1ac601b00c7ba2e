"""Rendered street and parking-lot scenes whose causes of misses are known, and the small detector that misses them."""

from xai.demo.run import DemoPaths, make_demo, score

__all__ = ["DemoPaths", "make_demo", "score"]
