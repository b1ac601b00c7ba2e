import io

import torch

from xai.detect.fcos import fcos_small


def test_small_enough_to_ship_and_loads_as_plain_weights() -> None:
    model = fcos_small(3)
    buffer = io.BytesIO()
    torch.save({name: value.half() for name, value in model.state_dict().items()}, buffer)
    assert buffer.tell() <= 4e6
    assert sum(parameter.numel() for parameter in model.parameters()) <= 1.2e6
    buffer.seek(0)
    again = fcos_small(3)
    again.load_state_dict(torch.load(buffer, weights_only=True))


def test_pyramid_has_the_strides_of_its_anchors() -> None:
    model = fcos_small(2).eval()
    with torch.no_grad():
        levels = model.backbone(torch.rand(1, 3, 96, 160))
    assert [tuple(level.shape[-2:]) for level in levels.values()] == [(12, 20), (6, 10), (3, 5)]
    assert {level.shape[1] for level in levels.values()} == {model.backbone.out_channels}


def test_trains_from_scratch_to_find_a_bright_square() -> None:
    torch.manual_seed(0)
    model = fcos_small(1, min_size=96, max_size=96)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    photos, targets = [], []
    for x, y, side in [(8, 12, 30), (40, 50, 36), (50, 6, 24), (10, 56, 32)]:
        photo = torch.rand(3, 96, 96) * 0.2
        photo[:, y : y + side, x : x + side] = 0.9
        photos.append(photo)
        box = torch.tensor([[x, y, x + side, y + side]], dtype=torch.float32)
        targets.append({"boxes": box, "labels": torch.tensor([0])})
    losses = []
    for _ in range(40):
        loss = sum(model(photos, targets).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
