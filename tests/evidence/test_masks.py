import pytest
import torch

from xai.evidence.masks import blurred, focused_masks, inpainted, mask_pairs


def masks_of(size: tuple[int, int], n_pairs: int, grid_sizes: tuple[int, ...], batch: int, seed: int) -> torch.Tensor:
    return torch.cat([masks for masks, _ in mask_pairs(size, n_pairs, grid_sizes, batch, seed, torch.device("cpu"))])


def test_masks_are_balanced_and_bounded() -> None:
    masks = masks_of((20, 32), 900, (4, 8, 16), 32, 0)
    assert masks.shape == (900, 20, 32)
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert (masks.mean(0) - 0.5).abs().max() < 0.06
    assert masks.var(0).min() > 0.08


def test_shares_on_show_are_spread_evenly() -> None:
    masks = masks_of((48, 64), 120, (16,), 16, 3)
    asked = torch.cat([part for _, part in mask_pairs((48, 64), 120, (16,), 16, 3, torch.device("cpu"))])
    assert (masks.mean((1, 2)) - asked).abs().max() < 0.1
    shares = asked.sort().values
    expected = 0.1 + 0.8 * (torch.arange(120) + 0.5) / 120
    assert (shares - expected).abs().max() < 0.02


def test_few_masks_show_every_cell_about_equally() -> None:
    """Strata leave less to chance: independent cells would differ by 0.125 from mask to mask of 16."""
    masks = masks_of((8, 8), 16, (2,), 16, 1)
    independent = (torch.rand(200, 16, generator=torch.Generator().manual_seed(0)) < 0.5).float().mean(1).std()
    corners = masks[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners.mean(0) - 0.5).abs().max() < 2 * independent


def test_the_first_masks_do_not_depend_on_how_many_follow_or_on_the_batch() -> None:
    many = masks_of((20, 32), 60, (4, 8), 7, 5)
    few = masks_of((20, 32), 11, (4, 8), 4, 5)
    torch.testing.assert_close(many[:11], few)
    other = masks_of((20, 32), 11, (4, 8), 4, 6)
    assert not torch.allclose(few, other)


def test_blur_keeps_constants_and_means() -> None:
    flat = torch.full((1, 3, 20, 30), 0.3)
    torch.testing.assert_close(blurred(flat), flat)
    spot = torch.zeros(1, 1, 101, 101)
    spot[0, 0, 50, 50] = 1
    soft = blurred(spot)
    assert soft.sum() == pytest.approx(1, abs=1e-4)
    y = torch.arange(101.0) - 50
    assert float((soft[0, 0].sum(1) * y**2).sum()) ** 0.5 == pytest.approx(0.04 * 101, rel=0.05)
    assert blurred(torch.rand(1, 3, 1, 1)).shape == (1, 3, 1, 1)


def test_inpainting_knows_nothing_of_what_is_hidden() -> None:
    photo = torch.rand(1, 3, 37, 50, generator=torch.Generator().manual_seed(0))
    masks = (torch.rand(4, 1, 37, 50, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    masks[1], masks[2, :, 5:30, 5:40] = 1, 0
    filled = inpainted(photo, masks)
    assert filled.shape == (4, 3, 37, 50)
    shown = masks.expand_as(filled) > 0
    torch.testing.assert_close(filled[shown], photo.expand_as(filled)[shown])
    assert filled.min() >= 0
    assert filled.max() <= 1
    other = torch.where(masks > 0, photo, 0.123)
    torch.testing.assert_close(
        torch.cat([inpainted(item[None], mask[None]) for item, mask in zip(other, masks, strict=True)]), filled
    )


def test_inpainting_takes_the_colour_that_is_near() -> None:
    photo = torch.zeros(1, 1, 32, 32)
    photo[..., 16:] = 1
    mask = torch.ones(1, 1, 32, 32)
    mask[..., 2:14, 2:8] = mask[..., 18:30, 24:30] = 0
    filled = inpainted(photo, mask)
    assert filled[..., 2:14, 2:8].max() < 0.3
    assert filled[..., 18:30, 24:30].min() > 0.7
    nothing = inpainted(photo, torch.zeros_like(mask))
    torch.testing.assert_close(nothing, torch.full_like(photo, 0.5))


def test_focused_masks_show_what_ranks_high_and_leave_nothing_out() -> None:
    maps = torch.zeros(2, 6, 8)
    maps[0, :, 6:], maps[1, :2] = 1, 1
    maps += 1e-3 * torch.rand(maps.shape, generator=torch.Generator().manual_seed(1))

    def draw(batch: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.cat(list(focused_masks((48, 64), maps, 1200, (4, 8), batch, generator)))

    masks = draw(50)
    assert masks.shape == (1200, 48, 64)
    assert masks.min() >= 0
    assert masks.max() <= 1
    turns = torch.arange(1200) // 2 % 2
    right, top = masks[turns == 0].mean(0), masks[turns == 1].mean(0)
    assert right[:, 56:].mean() > right[:, :40].mean() + 0.3
    assert top[:8].mean() > top[24:].mean() + 0.3
    assert masks.var(0).min() > 0.05
    shares = masks.mean((1, 2))
    assert shares.quantile(0.1) < 0.25
    assert shares.quantile(0.9) > 0.75
    assert torch.equal(masks, draw(7))


def test_a_flat_map_aims_nowhere_and_every_map_has_its_turn() -> None:
    def draw(maps: torch.Tensor, count: int, first: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.cat(list(focused_masks((48, 64), maps, count, (4,), 50, generator, first)))

    rows = draw(torch.zeros(1, 6, 8), 1000).mean((0, 2))
    assert rows.max() - rows.min() < 0.06
    # The second of two maps, which helps at the top, comes next where an odd number was drawn before.
    maps = torch.zeros(2, 6, 8)
    maps[1, :2] = 1
    even, odd = (draw(maps, 400, first)[::2].mean(0) for first in (0, 1))
    assert odd[:8].mean() > odd[24:].mean() + 0.2 > even[:8].mean() - even[24:].mean() + odd[24:].mean()
