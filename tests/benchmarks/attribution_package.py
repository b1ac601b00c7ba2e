"""The clock of vision-explanation-methods, started by `attribution.py --package-python` in an environment of its own.

    python -m venv peer && peer/bin/pip install vision-explanation-methods==0.1.1 ultralytics==8.4.190 torch==2.14.1

Reads a task as JSON argument; for every line on stdin makes one map and prints the seconds.
"""

import json
import os
import sys
import time

import numpy as np
import torch
from ultralytics import YOLO
from ultralytics.utils.nms import non_max_suppression
from vision_explanation_methods.explanations.common import (
    DetectionRecord,
    GeneralObjectDetectionModelWrapper,
    expand_class_scores,
)
from vision_explanation_methods.explanations.drise import DRISE_saliency


class Wrapped(GeneralObjectDetectionModelWrapper):
    """YOLO as the package asks for it: detections of a batch of photos."""

    def __init__(self, model: torch.nn.Module, device: str) -> None:
        self.model = model
        self.device = device

    def predict(self, x: torch.Tensor) -> list[DetectionRecord]:
        found = non_max_suppression(self.model(x.to(self.device)), conf_thres=0.25, iou_thres=0.7)
        return [
            DetectionRecord(
                rows[:, :4], torch.ones(len(rows), device=rows.device), expand_class_scores(rows[:, 4], rows[:, 5], 80)
            )
            for rows in found
        ]


def main() -> None:
    task = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the packages talk on stdout
    torch.set_num_threads(task["threads"])
    device = task["device"]
    model = YOLO(task["weights"]).model.fuse().eval().to(device)
    photo = torch.from_numpy(np.load(task["photo"])).to(device)
    scores = expand_class_scores(torch.tensor([1.0]), torch.tensor([task["label"]]), 80)
    target = DetectionRecord(torch.tensor([task["box"]]), torch.ones(1), scores)
    for _ in sys.stdin:
        start = time.perf_counter()
        DRISE_saliency(Wrapped(model, device), photo, [target], task["n_masks"], device=device)
        print(time.perf_counter() - start, file=answers, flush=True)


if __name__ == "__main__":
    main()
