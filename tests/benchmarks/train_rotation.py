"""Train the head that tells quarter turns (`attributes/rotation_head.npz`), and measure rotation and roll.

Upright photos are all it needs: 670 VOC, COCO, York Urban and sun-glare photos, each seen through its middle square
and random squares, mirrored, re-coloured and in all four turns. `voc/eval` is never trained on. Thresholds and
temperature come from cross-validation by photo.

    python tests/benchmarks/train_rotation.py --data ../shared/data [--measure-only]
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.optimize
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attributes import orientation, upright
from attributes.views import Floats, Pixels, fit

HEAD = Path(upright.__file__).with_name("rotation_head.npz")
TRAINING = ("voc/train/JPEGImages", "coco/images/train2017", "york", "glare/images")
TESTING = "voc/eval/JPEGImages"
CROPS = 24
FOLDS = 3
EPOCHS = 80
BATCH = 64
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.1
FIRST, SECOND, HIDDEN = 24, 32, 32
TARGET_PRECISION = {"upright": 0.90, "turned": 0.95}


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


def read(folder: Path) -> Iterator[Pixels]:
    """Photos of a folder as RGB, in the order of their names."""
    for path in sorted(folder.glob("*.jp*g")):
        yield np.ascontiguousarray(cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1])


def square(photo: Pixels) -> Pixels:
    """The largest square in the middle."""
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return photo[top : top + side, left : left + side]


def random_square(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """A square of 45 to 100 % of the shorter side, anywhere."""
    height, width = photo.shape[:2]
    side = int(min(height, width) * rng.uniform(0.45, 1.0))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    return photo[top : top + side, left : left + side]


def recoded(photo: Pixels, quality: int) -> Pixels:
    """The photo after JPEG coding."""
    coded = cv2.imencode(".jpg", np.ascontiguousarray(photo[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])


def training_layouts(data: Path) -> NDArray[np.float32]:
    """(photos, CROPS, 13, 16, 16); the first crop of each photo is its middle square."""
    rng = np.random.default_rng(0)
    layouts = []
    for photo in (photo for folder in TRAINING for photo in read(data / folder)):
        photo = fit(photo, 400)
        crops = [square(photo), *(random_square(photo, rng) for _ in range(CROPS - 1))]
        layouts.append([upright.describe(recoded(crop, int(rng.integers(60, 96)))) for crop in crops])
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
    return torch.cat([light, cells[:, 1:3] * colour, cells[:, 3:4], cells[:, 4:5] + draw(-0.15, 0.15), cells[:, 5:]], 1)


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
            cells = augmented(layouts[chosen, torch.randint(0, layouts.shape[1], (BATCH,))])
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


def calibrate(scores: NDArray[np.float64]) -> tuple[float, list[float]]:
    """Temperature (Guo et al. 2017) and the least confidences for "upright" and for "turned".

    A photo that was turned is as if its four scores were permuted, so each right column stands for all turns: the most
    confident answers, of which TARGET_PRECISION are right, are kept.
    """

    def loss(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature)
        return float((np.logaddexp.reduce(scaled, axis=1) - scaled[:, 0]).mean())

    temperature = float(np.exp(scipy.optimize.minimize_scalar(loss, bounds=(-2, 2), method="bounded").x))
    scaled = scores / temperature
    probabilities = np.exp(scaled - np.logaddexp.reduce(scaled, axis=1)[:, None])
    top = probabilities.max(axis=1)
    order = np.argsort(-top)
    precision = np.cumsum(probabilities.argmax(axis=1)[order] == 0) / np.arange(1, len(order) + 1)
    least = [float(top[order][np.flatnonzero(precision >= target).max()]) for target in TARGET_PRECISION.values()]
    return temperature, least


def export(model: Head, temperature: float, least: Sequence[float]) -> dict[str, NDArray[Any]]:
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
    return halves | {"temperature": np.float32(temperature), "least_confidence": np.array(least, np.float32)}


def measure_rotation(data: Path) -> None:
    """Print how often rotation is right on photos that were never trained on."""
    rng = np.random.default_rng(2)
    photos = list(read(data / TESTING))
    turns = rng.integers(0, 4, len(photos))
    squares = [recoded(np.rot90(square(photo), turn), 85) for photo, turn in zip(photos, turns, strict=True)]
    for name, given, truth in (
        ("middle squares, turned at random", squares, turns),
        ("whole, upright", photos, np.zeros_like(turns)),
        ("whole, turned at random", [np.rot90(photo, turn) for photo, turn in zip(photos, turns, strict=True)], turns),
    ):
        small = [fit(np.ascontiguousarray(photo), 320) for photo in given]
        confidences = np.array([upright.confidence(upright.describe(photo)) for photo in small])
        answers = orientation.rotation(small)
        sure = np.isfinite(answers)
        print(
            f"{name}: forced choice {(confidences.argmax(1) == truth).mean():.3f}, confident {sure.mean():.3f}, "
            f"of these right {(answers == truth * 90)[sure].mean():.3f}; "
            f"called turned though upright {(answers[truth == 0] > 0).sum()} of {(truth == 0).sum()}"
        )


def turned_inside(photo: Pixels, degrees: float) -> Pixels:
    """Turn counter-clockwise about the middle and crop inside, so that no border shows."""
    height, width = photo.shape[:2]
    sine, cosine = np.sin(np.radians(abs(degrees))), np.cos(np.radians(degrees))
    part = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    size = int(width * part) - 2, int(height * part) - 2
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    matrix[:, 2] -= [(width - size[0]) / 2, (height - size[1]) / 2]
    return np.asarray(cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_CUBIC), dtype=np.uint8)


def roll_trials(photos: Sequence[Pixels], rolls: Floats, angles: int) -> tuple[Floats, Floats]:
    """Turn photos of known roll by 0 and by random angles within 20 degrees → (n, 4) evidence, (n,) errors."""
    rng = np.random.default_rng(0)
    evidence, errors = [], []
    for photo, known in zip(photos, rolls, strict=True):
        for angle in [0.0, *rng.uniform(-20, 20, angles)]:
            small = fit(turned_inside(photo, angle), orientation.ROLL_SIDE)
            found, speaks = orientation.roll_evidence(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
            evidence.append(speaks)
            errors.append(found - (known + angle))
    return np.array(evidence), np.array(errors)


def fit_roll_confidence(evidence: Floats, errors: Floats) -> Floats:
    """Logistic regression of "right within 3 degrees" (photos count as level when taken) → (5,) weights, bias last."""
    known = np.isfinite(errors)
    inputs = np.column_stack([evidence[known], np.ones(known.sum())])
    sign = np.where(np.abs(errors[known]) < 3, 1.0, -1.0)

    def loss(weights: Floats) -> float:
        return float(np.logaddexp(0, -sign * (inputs @ weights)).sum() + 0.01 * (weights[:-1] ** 2).sum())

    return np.asarray(scipy.optimize.minimize(loss, np.zeros(5)).x)


def measure_roll(data: Path) -> None:
    """Print the fitted confidence of the roll and its errors on photos of known roll."""
    upright_photos = [photo for folder in TRAINING[:2] for photo in read(data / folder)]
    fitted = fit_roll_confidence(*roll_trials(upright_photos, np.zeros(len(upright_photos)), 1))
    print("roll confidence:", np.array2string(fitted, precision=3, separator=", "))
    with (data / "york/ground_truth.csv").open() as table:
        # The table counts the turn of the content clockwise, the opposite of ours.
        york = {row["image"]: -float(row["roll_deg"]) for row in csv.DictReader(table)}
    tests = {"York Urban": (list(read(data / "york")), np.array([york[name] for name in sorted(york)]), 3)}
    voc = list(read(data / TESTING))
    tests["VOC eval, taken as level"] = (voc, np.zeros(len(voc)), 1)
    for name, trial in tests.items():
        evidence, errors = roll_trials(*trial)
        sure = np.array([orientation.roll_confidence(item) for item in evidence]) >= orientation.LEAST_ROLL_CONFIDENCE
        off = np.abs(errors[sure])
        print(
            f"{name}, {len(errors)} trials: confident {sure.mean():.3f}, median error {np.median(off):.2f}, "
            f"within 2 degrees {(off <= 2).mean():.3f}, beyond 10 {(off > 10).mean():.3f}"
        )


def main() -> None:
    """Train unless told only to measure, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "../shared/data")
    parser.add_argument("--measure-only", action="store_true")
    arguments = parser.parse_args()
    if not arguments.measure_only:
        layouts = torch.from_numpy(training_layouts(arguments.data))
        temperature, least = calibrate(out_of_fold_scores(layouts))
        print(f"temperature {temperature:.2f}, least confidence upright {least[0]:.3f}, turned {least[1]:.3f}")
        np.savez_compressed(HEAD, **export(train(layouts, seed=FOLDS + 1), temperature, least))
        upright.head.cache_clear()
    measure_rotation(arguments.data)
    measure_roll(arguments.data)


if __name__ == "__main__":
    main()
