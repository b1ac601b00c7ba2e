"""Train the head that tells quarter turns (`attributes/rotation_head.npz`), and fit the confidence of the roll.

Upright photos are all it needs: 670 VOC, COCO, York Urban and sun-glare photos, each seen through its middle square
and random squares, mirrored, mixed, re-coloured and in all four turns. Nothing of `voc/eval` is trained on. Thresholds
and temperature come from cross-validation by photo on VOC and COCO.

The head of 738 photos, half of `voc/eval` with them and half of COCO without, is no better: forced to choose it is
right on 78% of the other 121 VOC squares (this one: 72%), but on 52% of the other 61 COCO squares, and on 70% of those
that it tells. Averaging the scores with those of the mirrored layout changes neither.

    python tests/benchmarks/train_rotation.py --data ../shared/data [--roll]

`attribute_accuracy.py` measures what comes out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import accuracy_data as data
import cv2
import numpy as np
import scipy.optimize
import torch
from harness import DATA
from numpy.typing import NDArray
from torch import Tensor, nn

from attributes import orientation, upright
from attributes.arrays import Floats, Pixels
from attributes.reduced import fit

HEAD = Path(upright.__file__).with_name("rotation_head.npz")
EVERYDAY, OTHERS = ("voc/train/JPEGImages", "coco/images/train2017"), ("york", "glare/images")
"""Photos that the head is trained on; thresholds are chosen on the everyday ones."""
HALVED = ("voc/eval/JPEGImages", "coco/images/train2017")
"""Of these the tuning half serves the confidence of the roll, besides `voc/train`."""
CROPS = 16
MIDDLE = 0.5
"""Share of the middle square among the crops that are seen."""
FOLDS = 3
EPOCHS = 80
BATCH = 64
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.1
FIRST, SECOND, HIDDEN = 24, 32, 32


class Head(nn.Module):
    """The network of `upright.confidence`, with the normalisation and dropout that training needs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(13, FIRST, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(FIRST)
        self.second = nn.Conv2d(FIRST, SECOND, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(SECOND)
        self.hidden = nn.Linear(SECOND * 16, HIDDEN)
        self.score = nn.Linear(HIDDEN, 1)
        self.drop_maps, self.drop = nn.Dropout2d(0.1), nn.Dropout(0.4)

    def forward(self, cells: Tensor) -> Tensor:
        """(n, 13, 16, 16) layouts → (n,) how upright each looks."""
        maps = self.drop_maps(nn.functional.avg_pool2d(self.first_norm(self.first(cells)).relu(), 2))
        maps = self.drop_maps(nn.functional.avg_pool2d(self.second_norm(self.second(maps)).relu(), 2))
        hidden = self.drop(self.hidden(self.drop(maps.flatten(1))).relu())
        return self.score(hidden)[:, 0]


def training_paths(folder: Path) -> tuple[list[Path], list[Path]]:
    """Photos that the head is trained on: those that thresholds are chosen on, and the others."""
    everyday, others = (
        [path for part in parts for path in data.paths(folder / part, None)] for parts in (EVERYDAY, OTHERS)
    )
    return everyday, others


def roll_paths(folder: Path) -> list[Path]:
    """Photos that the confidence of the roll is fitted on."""
    halves = [path for part in HALVED for path in data.paths(folder / part, "tune")]
    return halves + data.paths(folder / EVERYDAY[0], None)


def random_square(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """A square of 45 to 100 % of the shorter side, anywhere."""
    height, width = photo.shape[:2]
    side = int(min(height, width) * rng.uniform(0.45, 1.0))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    return photo[top : top + side, left : left + side]


def training_layouts(paths: Sequence[Path]) -> NDArray[np.float32]:
    """(photos, CROPS, 13, 16, 16); the first crop of each photo is its middle square."""
    rng = np.random.default_rng(0)
    layouts = []
    for path in paths:
        photo = fit(data.pixels(path), 400)
        crops = [data.middle_square(photo), *(random_square(photo, rng) for _ in range(CROPS - 1))]
        layouts.append([upright.describe(data.recoded(crop, int(rng.integers(60, 96)))) for crop in crops])
    return np.array(layouts, dtype=np.float32)


def turned(cells: Tensor, turns: int) -> Tensor:
    """`upright.turned` for tensors."""
    order = torch.tensor([0, 1, 2, 3, 4, *(5 + (index - 2 * turns) % 8 for index in range(8))])
    return torch.rot90(cells, -turns, (-2, -1))[..., order, :, :]


def augmented(cells: Tensor) -> Tensor:
    """Random mirroring, exposure, saturation, grey, and amount of texture."""
    count = len(cells)
    mirrored = torch.tensor([0, 1, 2, 3, 4, *(5 + (4 - index) % 8 for index in range(8))])
    flip = (torch.rand(count) < 0.5)[:, None, None, None]
    cells = torch.where(flip, cells.flip(-1)[:, mirrored], cells)

    def draw(low: float, high: float) -> Tensor:
        return torch.empty(count, 1, 1, 1).uniform_(low, high)

    colour = torch.where(draw(0, 1) < 0.15, 0.0, draw(0.6, 1.4))
    light = cells[:, :1] * draw(0.75, 1.25) + draw(-0.2, 0.2)
    cells = torch.cat(
        [light, cells[:, 1:3] * colour, cells[:, 3:4], cells[:, 4:5] + draw(-0.15, 0.15), cells[:, 5:]], 1
    )
    # A mixture of two upright layouts is upright (Zhang et al., "mixup", ICLR 2018); one of the two prevails.
    share = torch.distributions.Beta(0.4, 0.4).sample((count, 1, 1, 1))
    share = 0.5 + 0.5 * share
    return share * cells + (1 - share) * cells[torch.randperm(count)]


def train(layouts: Tensor, seed: int, epochs: int = EPOCHS) -> Head:
    """Train on upright layouts (photos, crops, 13, 16, 16): the right one of four turns shall score highest."""
    torch.manual_seed(seed)
    model = Head()
    steps_each = len(layouts) // BATCH
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=epochs * steps_each)
    for _ in range(epochs):
        order = torch.randperm(len(layouts))
        for start in range(0, steps_each * BATCH, BATCH):
            chosen = order[start : start + BATCH]
            crops = torch.where(torch.rand(BATCH) < MIDDLE, 0, torch.randint(0, layouts.shape[1], (BATCH,)))
            cells = augmented(layouts[chosen, crops])
            scores = model(torch.cat([turned(cells, turns) for turns in range(4)])).reshape(4, BATCH).T
            loss = nn.functional.cross_entropy(scores, torch.zeros(BATCH, dtype=torch.long))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def scores_of(model: Head, cells: Tensor) -> NDArray[np.float64]:
    """(n, 4) scores of upright layouts in the four turns; column 0 is right."""
    return torch.stack([model(turned(cells, turns)) for turns in range(4)], 1).double().numpy()


def out_of_fold_scores(layouts: Tensor) -> NDArray[np.float64]:
    """(photos, 4) scores of each photo's middle square by a head that never saw the photo."""
    fold = np.random.default_rng(0).permutation(len(layouts)) % FOLDS
    scores = np.empty((len(layouts), 4))
    for index in range(FOLDS):
        model = train(layouts[torch.from_numpy(fold != index)], seed=index)
        held_out = torch.from_numpy(fold == index)
        scores[fold == index] = scores_of(model, layouts[held_out, 0])
    return scores


def calibrate(scores: NDArray[np.float64]) -> float:
    """Temperature of confidences that are as high as they are right (Guo et al. 2017)."""

    def loss(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature)
        return float((np.logaddexp.reduce(scaled, axis=1) - scaled[:, 0]).mean())

    return float(np.exp(scipy.optimize.minimize_scalar(loss, bounds=(-2, 2), method="bounded").x))


def export(model: Head, temperature: float) -> dict[str, NDArray[Any]]:
    """Weights as `upright` reads them: normalisation folded into the convolutions, channels last, half precision."""
    arrays: dict[str, Tensor] = {}
    for name in ("first", "second"):
        norm, weight = getattr(model, f"{name}_norm"), getattr(model, name).weight
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        arrays[f"{name}_weight"] = (weight * gain[:, None, None, None]).permute(2, 3, 1, 0).flatten(0, 2)
        arrays[f"{name}_bias"] = norm.bias - norm.running_mean * gain
    hidden = model.hidden.weight.reshape(HIDDEN, SECOND, 4, 4).permute(2, 3, 1, 0).flatten(0, 2)
    arrays |= {"hidden_weight": hidden, "hidden_bias": model.hidden.bias}
    arrays |= {"score_weight": model.score.weight.T, "score_bias": model.score.bias}
    halves: dict[str, NDArray[Any]] = {
        name: values.detach().numpy().astype(np.float16) for name, values in arrays.items()
    }
    return halves | {"temperature": np.float32(temperature)}


def roll_trials(paths: Sequence[Path]) -> tuple[Floats, NDArray[np.bool_]]:
    """Turn photos by 0 and by an angle within 20 degrees → (n, 4) evidence, (n,) whether the roll is right.

    Nobody knows the roll of these photos, but it has to follow the turn: where it does within 2 degrees, both are
    right; where it does not, the one that takes the photo for level within 3 degrees is, as most were held level.
    """
    rng = np.random.default_rng(0)
    evidence, rolls = [], []
    for path in paths:
        photo = data.pixels(path)
        for angle in (0.0, rng.uniform(-20, 20)):
            small = fit(data.turned_inside(photo, angle), orientation.ROLL_SIDE)
            found, speaks = orientation.roll_evidence(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
            evidence.append(speaks)
            rolls.append(found - angle)
    pairs = np.array(rolls).reshape(-1, 2)
    right = (np.abs(np.diff(pairs)) < 2) | (np.abs(pairs) < 3)
    told = np.isfinite(rolls)
    return np.array(evidence)[told], right.ravel()[told]


def fit_roll_confidence(evidence: Floats, right: NDArray[np.bool_]) -> Floats:
    """Logistic regression of "right" on the (n, 4) evidence → (5,) weights, bias last."""
    inputs = np.column_stack([evidence, np.ones(len(evidence))])
    sign = np.where(right, 1.0, -1.0)

    def loss(weights: Floats) -> float:
        return float(np.logaddexp(0, -sign * (inputs @ weights)).sum() + 0.01 * (weights[:-1] ** 2).sum())

    return np.asarray(scipy.optimize.minimize(loss, np.zeros(5)).x)


def main() -> None:
    """Train the head and write it, or fit the confidence of the roll and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--roll", action="store_true", help="fit the confidence of the roll instead")
    arguments = parser.parse_args()
    if arguments.roll:
        trials = roll_trials(roll_paths(arguments.data))
        print("roll confidence:", np.array2string(fit_roll_confidence(*trials), precision=3))
        return
    everyday, others = training_paths(arguments.data)
    layouts = torch.from_numpy(training_layouts(everyday + others))
    temperature = calibrate(out_of_fold_scores(layouts)[: len(everyday)])
    print(f"temperature {temperature:.2f}")
    np.savez_compressed(HEAD, **export(train(layouts, seed=FOLDS + 1), temperature))


if __name__ == "__main__":
    main()
