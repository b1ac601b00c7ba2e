"""Small rendered data sets for the tests of the whole way from photos to report."""

from pathlib import Path
from typing import Any

import yaml

from xai.demo import dataset
from xai.demo.run import CHECKPOINT

TRAIN_PHOTOS = range(12)
EVAL_PHOTOS = [0, 1, 2, 3, 82, 83, 125, 126, 140, 150, 190, 200]
"""Plain photos and some of several conditions."""


def write_world(folder: Path) -> Path:
    """Write training and evaluation photos and a config; return the config's path."""
    dataset._write_split(folder / "train", dataset.training_scene, TRAIN_PHOTOS, lambda done: None)
    dataset._write_split(folder / "eval", dataset.evaluation_scene, EVAL_PHOTOS, lambda done: None)
    return write_config(folder / "world.yaml")


def write_config(path: Path, **sections: dict[str, Any]) -> Path:
    config: dict[str, Any] = {
        "data": {
            "train": {"path": "train", "format": "voc", "detect": 8},
            "eval": {"path": "eval", "format": "voc"},
        },
        "detector": {"kind": "torchvision", "weights": str(CHECKPOINT), "score_threshold": 0.4, "image_size": 320},
        "promise": {"recall": 0.9},
        "explain": {"budget": 4, "maps": 0},
    }
    for name, section in sections.items():
        config[name] = {**config.get(name, {}), **section}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path
