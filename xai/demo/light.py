"""Daylight: where the sun stands, what colour it and the sky have, how much haze lies in the distance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xai.demo.camera import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """The light of one scene; colours as (3,) RGB factors or 0–255 values.

    Attributes:
        towards_sun: unit vector in world axes.
        sun: colour factor of direct light, near 0 under clouds.
        ambient: colour factor of light from the sky.
        zenith: sky colour above, 0–255.
        horizon: sky colour at the horizon, 0–255; also the colour of haze.
        clouds: share of the sky that clouds take, 0–1.
        haze: distance in metres at which 63% of an object's colour is lost to haze.
        shadow: share of the light that a cast shadow takes away, 0–1.
    """

    towards_sun: Floats
    sun: Floats
    ambient: Floats
    zenith: Floats
    horizon: Floats
    clouds: float
    haze: float
    shadow: float

    def shade(self, albedo: Floats, normals: Floats) -> Floats:
        """Colour (f, 3) of matt faces with albedo (f, 3) and unit normals (f, 3); Lambert's law plus skylight."""
        direct = np.maximum(normals @ self.towards_sun, 0.0)[:, None]
        sky = (0.72 + 0.28 * normals[:, 1])[:, None]
        shaded: Floats = albedo * (self.ambient * sky + self.sun * direct)
        return shaded

    def veil(self, colour: Floats, distance: float) -> Floats:
        """Blend a colour (..., 3) into the haze of its distance in metres (Koschmieder's law)."""
        kept = np.exp(-distance / self.haze)
        veiled: Floats = colour * kept + self.horizon * (1 - kept)
        return veiled


@dataclass(frozen=True, slots=True)
class _Weather:
    elevation: tuple[float, float]
    sun: tuple[float, float, float]
    ambient: tuple[float, float, float]
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    clouds: tuple[float, float]
    haze: float
    shadow: float


WEATHER: Mapping[str, _Weather] = {
    "noon": _Weather(
        (45, 65), (0.62, 0.60, 0.56), (0.52, 0.54, 0.57), (72, 118, 186), (176, 200, 220), (0.1, 0.5), 420, 0.46
    ),
    "morning": _Weather(
        (22, 38), (0.60, 0.55, 0.46), (0.52, 0.54, 0.58), (96, 138, 192), (206, 206, 200), (0.0, 0.4), 240, 0.42
    ),
    "evening": _Weather(
        (16, 28), (0.72, 0.56, 0.38), (0.50, 0.49, 0.52), (88, 116, 168), (216, 188, 156), (0.1, 0.5), 300, 0.42
    ),
    "overcast": _Weather(
        (45, 65), (0.10, 0.10, 0.10), (0.84, 0.86, 0.88), (150, 158, 168), (196, 200, 204), (0.7, 1.0), 200, 0.24
    ),
}


def draw_light(rng: np.random.Generator) -> Light:
    """Draw the weather, the sun's place (never in front of the camera) and small shifts of strength and tint."""
    weather = WEATHER[str(rng.choice(list(WEATHER)))]
    elevation = np.deg2rad(rng.uniform(*weather.elevation))
    azimuth = np.deg2rad(rng.uniform(75, 285))
    towards_sun = np.array(
        [np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)]
    )
    strength = rng.uniform(1.02, 1.18)
    tint = rng.uniform(0.96, 1.04, 3)
    return Light(
        towards_sun,
        np.array(weather.sun) * strength * tint,
        np.array(weather.ambient) * strength * tint,
        np.array(weather.zenith) * rng.uniform(0.9, 1.08),
        np.array(weather.horizon) * rng.uniform(0.94, 1.05),
        rng.uniform(*weather.clouds),
        weather.haze * rng.uniform(0.8, 1.3),
        weather.shadow,
    )
