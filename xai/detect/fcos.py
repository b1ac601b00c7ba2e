"""A small FCOS for photos of a few hundred pixels: fast on one CPU core and trainable from scratch."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSHead
from torchvision.ops import FeaturePyramidNetwork

_WIDTHS = (16, 24, 64, 96, 128)
"""Channels at stride 2, 4, 8, 16 and 32."""

_PYRAMID_WIDTH = 64
_STRIDES = (8, 16, 32)


def fcos_small(num_classes: int, min_size: int = 240, max_size: int = 320) -> FCOS:
    """Build an untrained FCOS with a narrow residual backbone and three pyramid levels (strides 8, 16, 32).

    About 0.8 million parameters, 1.6 MB as float16. In training mode it takes ``(images, targets)`` as every
    torchvision detector does; a target's ``labels`` are 0 … ``num_classes`` − 1, there is no background class.

    Checkpoint: ``torch.save`` of a dictionary of plain values, readable with ``weights_only=True``::

        {
            "architecture": "fcos_small",
            "state_dict": model.state_dict(),          # float16 or float32
            "names": ["car", ...],                     # class names in the order of the labels
            "trained_at": "2025-01-31T12:00:00+00:00", # ISO 8601
            "arguments": {"min_size": 240, "max_size": 320, ...},  # further training arguments as plain values
        }

    Args:
        num_classes: classes, without background.
        min_size: photos are resized so that the shorter side has this many pixels …
        max_size: … unless the longer side would then exceed this.

    Source: Tian et al., "FCOS: A simple and strong anchor-free object detector", TPAMI 2020 (arXiv 2006.09214).
    """
    head = FCOSHead(_PYRAMID_WIDTH, num_anchors=1, num_classes=num_classes, num_convs=2)
    # A box regression that starts at zero lies on the dead side of the head's ReLU for half of the locations; training
    # from scratch then loses its first epochs. Start with boxes of four strides instead.
    nn.init.constant_(head.regression_head.bbox_reg.bias, 2.0)
    anchors = AnchorGenerator(sizes=tuple((stride,) for stride in _STRIDES), aspect_ratios=((1.0,),) * len(_STRIDES))
    return FCOS(_Backbone(), num_classes, min_size=min_size, max_size=max_size, anchor_generator=anchors, head=head)


class _Backbone(nn.Module):
    """Features of strides 8, 16 and 32 with equal width."""

    def __init__(self) -> None:
        super().__init__()
        stem, *widths = _WIDTHS
        self.out_channels = _PYRAMID_WIDTH
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(stem), nn.ReLU(inplace=True)
        )
        self.stages = nn.ModuleList(_Block(before, width) for before, width in zip(_WIDTHS[:-1], widths, strict=True))
        self.pyramid = FeaturePyramidNetwork(list(_WIDTHS[2:]), _PYRAMID_WIDTH)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        features = self.stem(inputs)
        levels: OrderedDict[str, Tensor] = OrderedDict()
        for index, stage in enumerate(self.stages):
            features = stage(features)
            if index > 0:
                levels[str(index)] = features
        pyramid: dict[str, Tensor] = self.pyramid(levels)
        return pyramid


class _Block(nn.Module):
    """Two 3×3 convolutions and a shortcut; halves the resolution (He et al., CVPR 2016)."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = nn.functional.relu(self.body(inputs) + self.shortcut(inputs))
        return output
