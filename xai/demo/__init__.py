"""Rendered street and parking-lot scenes whose causes of misses are known, and the small detector that misses them."""

from xai.demo.run import DemoPaths, demo_run, make_demo, score

__all__ = ["DemoPaths", "demo_run", "make_demo", "score"]
