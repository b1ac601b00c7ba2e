"""Peers of `attribution.py`: D-RISE as published, written from the paper, and a package of it that people use.

Plain D-RISE (Petsiuk et al., CVPR 2021): independent cells of a 16×16 grid, each shown or not, a pixel's weight the
mean of the target over the masks that show it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from attribution_work import BATCH, Shown, masked, ours
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from xai.evidence.drise import DRISE
from xai.evidence.targets import deployed_score, iou_times_score

AGREEING = {"ours": 200, "plain": 500}
"""Forwards at which two seeds are compared, of masks alone."""

AGREEING_BY_GRADIENT = (200, 400)
"""The same of maps by gradient, whose agreement is not told ahead: an ascent has no noise that falls with forwards."""


def plain_drise(shown: Shown, forwards: int, seed: int, *, deployed: bool = False) -> list[Tensor]:
    """Maps (h, w) of plain D-RISE from the same masks: of candidates and, if asked for, of deployed detections."""
    targets = [iou_times_score, deployed_score(shown.detector, shown.prepared)][: 1 + deployed]
    generator = torch.Generator().manual_seed(seed)
    height, width = shown.inputs.shape[-2:]
    cell = (-(-height // 16), -(-width // 16))
    sums, weight = torch.zeros(len(targets), height, width), torch.zeros(height, width)
    for done in range(0, forwards, BATCH):
        count = min(BATCH, forwards - done)
        cells = (torch.rand(count, 1, 17, 17, generator=generator) < 0.5).float()
        large = functional.interpolate(cells, size=(17 * cell[0], 17 * cell[1]), mode="bilinear", align_corners=False)
        shifts = [(int(torch.randint(0, side, (1,), generator=generator))) for side in cell]
        masks = large[..., shifts[0] : shifts[0] + height, shifts[1] : shifts[1] + width]
        with torch.no_grad():
            candidates = shown.detector.forward(torch.lerp(shown.baseline, shown.inputs, masks))
            values = torch.cat([target(candidates, shown.boxes, shown.labels) for target in targets], 1)
        sums += torch.einsum("nt,nhw->thw", values.cpu(), masks[:, 0])
        weight += masks[:, 0].sum(0)
    return list((sums / weight).to(shown.inputs))


def _agreement_of_ours(shown: Shown) -> list[float]:
    return [_rank_correlation([masked(shown, AGREEING["ours"], seed) for seed in (1, 2)])]


def agreement_by_gradient(shown: Shown) -> list[float]:
    """Rank correlations of two seeds' maps at each of ``AGREEING_BY_GRADIENT``."""
    return [_rank_correlation([ours(shown, count, seed) for seed in (1, 2)]) for count in AGREEING_BY_GRADIENT]


def _agreement_of_plain(shown: Shown) -> list[float]:
    return [_rank_correlation([plain_drise(shown, AGREEING["plain"], seed)[0] for seed in (1, 2)])]


AGREEMENTS = {"ours": _agreement_of_ours, "plain": _agreement_of_plain}
"""Rank correlation of two seeds' maps over means of 8×8 px."""


def _rank_correlation(maps: Sequence[Tensor]) -> float:
    ranks = [rankdata(functional.avg_pool2d(item[None], 8)[0].flatten().cpu()) for item in maps]
    return float(np.corrcoef(ranks)[0, 1])


def forwards_until(level: float, count: int, correlation: float) -> float:
    """Forwards at which two seeds correlate at a level, from what they do at ``count``: noise falls as 1 / forwards.

    With signal s and noise n / forwards the correlation is s / (s + n / forwards): its odds grow with the forwards.
    """
    if correlation <= 0:
        return float("inf")
    return count * level / (1 - level) / (correlation / (1 - correlation))


def time_package(python: Path, weights: Path, shown: Shown, n_masks: int, rounds: int) -> tuple[float, float]:
    """Seconds of our DRISE and of vision-explanation-methods' for as many masks of one photo, in turns; medians."""
    script = Path(__file__).with_name("attribution_package.py")
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.npy"
        np.save(photo, shown.inputs.cpu().numpy())
        box = shown.boxes[0].tolist()
        task = {"weights": str(weights), "photo": str(photo), "box": box, "label": int(shown.labels[0])}
        task |= {"n_masks": n_masks, "threads": torch.get_num_threads(), "device": str(shown.inputs.device)}
        offline = {**os.environ, "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
        with subprocess.Popen(
            [python, script, json.dumps(task)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=offline
        ) as peer:
            if peer.stdin is None or peer.stdout is None:
                sys.exit("no pipe to the peer")
            seconds: list[tuple[float, float]] = []
            for _ in range(rounds + 1):
                start = time.perf_counter()
                found = DRISE(shown.score).attribute(shown.inputs, n_masks=n_masks, perturbations_per_eval=BATCH)
                float(torch.as_tensor(found).sum())
                own = time.perf_counter() - start
                peer.stdin.write("go\n")
                peer.stdin.flush()
                seconds.append((own, float(peer.stdout.readline())))
            peer.stdin.close()
    own, theirs = np.median(seconds[1:], axis=0)
    return float(own), float(theirs)
