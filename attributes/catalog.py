"""The one table of attributes: what each measures, in which unit and range, and where its bins lie.

Thresholds were chosen on 650 photos of PASCAL VOC 2007 with 1,968 objects: extreme bins hold a few per cent of them,
and looking at those showed the condition. ``why`` says what speaks for a threshold.

To add an attribute: one function of ``Views``, one entry here, one test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from attributes import exposure, glare, noise, objects, orientation, sharpness
from attributes.views import Floats, Views


@dataclass(frozen=True, slots=True)
class Bin:
    """A named range of an attribute: ``low <= value < high``, the last bin's ``high`` inclusive, ``None`` open."""

    name: str
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Attribute:
    """A measured property of a photo or of an object in it.

    Attributes:
        name: the column's name.
        level: ``image`` or ``object``.
        unit: of the values; empty for shares and severities.
        range: smallest and largest possible value, ``None`` where open.
        bins: by rising threshold.
        why: what the thresholds rest on.
        definition: what a value says, in one sentence.
        function: photos and boxes → (B,) or (N,) values, NaN where it cannot be told.
        source: where the measure comes from.
    """

    name: str
    level: str
    unit: str
    range: tuple[float | None, float | None]
    bins: tuple[Bin, ...]
    why: str
    definition: str
    function: Callable[[Views], Floats]
    source: str


def _bins(*parts: str | float) -> tuple[Bin, ...]:
    """Bins from names and the thresholds between them: ``_bins("low", 0.1, "high")``."""
    names, cuts = parts[0::2], parts[1::2]
    lows, highs = [None, *map(float, cuts)], [*map(float, cuts), None]
    return tuple(Bin(str(name), low, high) for name, low, high in zip(names, lows, highs, strict=True))


def _rotation(views: Views) -> Floats:
    return orientation.rotation(views.small)


def _roll(views: Views) -> Floats:
    return orientation.roll(views.small)


_TABLE = (
    Attribute(
        name="brightness",
        level="image",
        unit="",
        range=(0.0, 1.0),
        bins=_bins("dark", 0.20, "normal", 0.64, "bright"),
        why="dark 3%: night, unlit rooms; bright 2%: snow, white backgrounds, overexposed skies",
        definition="mean luma of the photo",
        function=exposure.brightness,
        source="ITU-R BT.601 luma",
    ),
    Attribute(
        name="contrast",
        level="image",
        unit="",
        range=(0.0, 0.5),
        bins=_bins("low", 0.13, "normal", 0.33, "high"),
        why="low 3%: one tone throughout; high 4%: black against white",
        definition="standard deviation of luma (RMS contrast)",
        function=exposure.contrast,
        source="Peli, Contrast in complex images, JOSA A 1990",
    ),
    Attribute(
        name="clipped",
        level="image",
        unit="",
        range=(0.0, 1.0),
        bins=_bins("little", 0.05, "some", 0.15, "much"),
        why="much 2%: a burned-out sky or background",
        definition="share of pixels whose three channels are burned out (250 of 255 or more)",
        function=exposure.clipped,
        source="own definition",
    ),
    Attribute(
        name="glare",
        level="image",
        unit="",
        range=(0.0, 1.0),
        bins=_bins("none", 0.35, "mild", 0.5, "strong"),
        why="strong 3% of everyday photos (stage lights, bright windows) and 86% of photos taken into the sun",
        definition="severity of the worst light source and the halo around it",
        function=glare.glare,
        source="after Kobatake & Hashimoto, Convergence index filter for vector fields, IEEE TIP 1999",
    ),
    Attribute(
        name="sharpness",
        level="image",
        unit="",
        range=(0.0, None),
        bins=_bins("blurred", 0.68, "soft", 0.8, "sharp"),
        why="blurred 2%: edges softer than a blur of 1.1 px in at least one direction; soft 6%",
        definition="1 / sqrt(1 + s^2) for edges blurred by s px at 640 px longest side, in the direction of most blur",
        function=sharpness.sharpness,
        source="after Zhuo & Sim, Defocus map estimation from a single image, Pattern Recognition 2011",
    ),
    Attribute(
        name="noise",
        level="image",
        unit="grey levels",
        range=(0.0, None),
        bins=_bins("low", 2.5, "moderate", 5.0, "strong"),
        why="strong 2%; a standard deviation of 5 levels is plainly visible grain",
        definition="standard deviation of noise in the flattest parts, at 640 px longest side",
        function=noise.noise,
        source="after Immerkaer, Fast noise variance estimation, CVIU 1996",
    ),
    Attribute(
        name="rotation",
        level="image",
        unit="degrees",
        range=(0.0, 270.0),
        bins=_bins("0", 45, "90", 135, "180", 225, "270"),
        why="the values are 0, 90, 180 and 270",
        definition="clockwise turn that brings the photo upright",
        function=_rotation,
        source="after Vailaya et al., Automatic image orientation detection, IEEE TIP 2002",
    ),
    Attribute(
        name="roll",
        level="image",
        unit="degrees",
        range=(-45.0, 45.0),
        bins=_bins("left", -10, "level", 10, "right"),
        why="hand-held photos lie within a few degrees; ten are a plain tilt",
        definition="roll of the camera beside quarter turns, positive = turned clockwise",
        function=_roll,
        source="vanishing point of the verticals, Hartley & Zisserman, Multiple View Geometry, 2004, section 8.6",
    ),
    Attribute(
        name="object_size",
        level="object",
        unit="",
        range=(0.0, 1.0),
        bins=_bins("tiny", 0.05, "small", 0.15, "medium", 0.4, "large", 0.8, "huge"),
        why="0.05 and 0.15 are COCO's 32 and 96 px at 640 px; huge 6% fill two thirds of the photo",
        definition="square root of the share of the photo that the box covers",
        function=objects.object_size,
        source="own definition",
    ),
    Attribute(
        name="truncation",
        level="object",
        unit="",
        range=(0.0, 1.0),
        bins=_bins("whole", 0.001, "cut"),
        why="a box on the edge is flagged as truncated 80% of the time, a box off it 38%",
        definition="share of the box's outline that lies on the photo's edge",
        function=objects.truncation,
        source="own definition",
    ),
    Attribute(
        name="crowding",
        level="object",
        unit="",
        range=(0.0, 1.0),
        bins=_bins("alone", 0.05, "some", 0.7, "crowded"),
        why="alone 34%, crowded 23%: chairs at tables, people in groups",
        definition="share of the box that other annotated boxes cover",
        function=objects.crowding,
        source="own definition",
    ),
    Attribute(
        name="object_glare",
        level="object",
        unit="",
        range=(0.0, 1.0),
        bins=_bins("none", 0.1, "mild", 0.3, "strong"),
        why="strong 0%: a source or its halo has to cover much of the box; mild 1%",
        definition="mean of the glare map in the box",
        function=objects.object_glare,
        source="as glare",
    ),
    Attribute(
        name="object_brightness",
        level="object",
        unit="",
        range=(0.0, 1.0),
        bins=_bins("dark", 0.15, "normal", 0.65, "bright"),
        why="dark 4%: silhouettes, night; bright 2%: white on white",
        definition="mean luma in the box",
        function=objects.object_brightness,
        source="ITU-R BT.601 luma",
    ),
    Attribute(
        name="object_contrast",
        level="object",
        unit="ΔE",
        range=(0.0, None),
        bins=_bins("low", 5.0, "normal", 34.0, "high"),
        why="low 4%: same colours as what is around; high 5%",
        definition="Frechet distance in CIELAB between the colours in the box and in the ring around it",
        function=objects.object_contrast,
        source="Dowson & Landau, The Frechet distance between multivariate normal distributions, JMVA 1982",
    ),
    Attribute(
        name="object_sharpness",
        level="object",
        unit="",
        range=(0.0, None),
        bins=_bins("blurred", 0.68, "soft", 0.8, "sharp"),
        why="as sharpness; blurred 1%, soft 6%: out of focus or moving",
        definition="sharpness of the edges in the box",
        function=sharpness.object_sharpness,
        source="as sharpness",
    ),
)

ATTRIBUTES: Mapping[str, Attribute] = {attribute.name: attribute for attribute in _TABLE}
