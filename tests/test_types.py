"""Types that cross layers."""

import numpy as np
import torch

from xai.types import Prepared


def test_parts_keep_rows_together() -> None:
    prepared = Prepared(
        indices=(4, 2, 7, 0, 1),
        inputs=torch.arange(5.0)[:, None, None, None].expand(5, 3, 2, 2),
        scale=np.arange(10.0).reshape(5, 2),
        offset=np.arange(10.0, 20.0).reshape(5, 2),
        sizes=np.arange(10).reshape(5, 2),
    )
    parts = prepared.parts(2)
    assert [part.indices for part in parts] == [(4, 2), (7, 0), (1,)]
    assert torch.equal(torch.cat([part.inputs for part in parts]), prepared.inputs)
    for name in ("scale", "offset", "sizes"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(prepared, name))
    assert prepared.parts(10)[0].indices == prepared.indices
