"""Everything in a scene that is not annotated: sky, ground, markings, buildings, trees and lamp posts."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from xai.demo.camera import HEIGHT, SUPERSAMPLING, WIDTH, Camera, Canvas, Floats, fill, fill_each
from xai.demo.light import Light

_TILE = 256
_TILE_METRES = 6.0
_CLUMPS = 20
_FACADES = np.array(
    [(176, 158, 136), (150, 96, 78), (196, 190, 178), (138, 134, 130), (168, 124, 96), (186, 176, 150), (122, 106, 98)],
    dtype=np.float64,
)
_GRASS = np.array([84.0, 104.0, 58.0])
_PAINT = np.array([214.0, 212.0, 204.0])


def backdrop(camera: Camera, light: Light, ground: Floats, rng: np.random.Generator) -> Canvas:
    """Paint sky and bare ground.

    Args:
        camera: where the rays start.
        light: colours of sky and sunlight.
        ground: albedo (3,) of the ground, 0–255.
        rng: draws the clouds and the place of the ground's grain.

    Returns:
        Canvas (2·HEIGHT, 2·WIDTH, 4) uint8, owner 0 everywhere.
    """
    rays = camera.rays()
    below = rays[1] < 0
    first = int(below.any(axis=1).argmax())
    sky = _sky(camera, light, rng)
    soil = _ground(camera.height, [ray[first:] for ray in rays], light, ground, rng)
    planes = [np.zeros((HEIGHT, WIDTH), dtype=np.uint8)]
    for above, underneath in zip(reversed(sky), reversed(soil), strict=True):
        plane = cv2.resize(above, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        np.copyto(plane[first:], underneath, where=below[first:])
        planes.insert(0, cv2.convertScaleAbs(plane))
    size = (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING)
    canvas: Canvas = cv2.resize(cv2.merge(planes), size, interpolation=cv2.INTER_LINEAR)
    return canvas


def _sky(camera: Camera, light: Light, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """Paint the sky, red, green and blue (each (HEIGHT/2, WIDTH/2)), soft enough to be enlarged."""
    x, y, z = camera.rays(shrink=2)
    up = y / np.sqrt(x * x + y * y + z * z)
    # Clouds lie on a plane above, so they get flatter and denser towards the horizon.
    reach = 60.0 / np.maximum(up, 0.04)
    shift = rng.integers(0, _TILE, 2).tolist()
    density = _sample(x * reach + shift[0], z * reach + shift[1])
    cover = 0.85 * np.clip((density + (1.6 * light.clouds - 1.0)) * 1.4, 0, 1) * np.clip(up * 14, 0, 1)
    blend = np.sqrt(np.clip(up, 0, 1))
    planes = []
    for horizon, zenith in zip(light.horizon.tolist(), light.zenith.tolist(), strict=True):
        clear = horizon + (zenith - horizon) * blend
        planes.append(clear + (0.45 * horizon + 130.0 - clear) * cover)
    return planes


def _ground(
    height: float, rays: Sequence[NDArray[np.float32]], light: Light, albedo: Floats, rng: np.random.Generator
) -> list[NDArray[np.float32]]:
    """Colour the ground that rays (X, Y, Z, each (h, w)) hit from ``height`` metres: red, green and blue."""
    x, y, z = rays
    distance = height / np.maximum(-y, 0.004)
    scale = _TILE / _TILE_METRES
    shift = rng.integers(0, _TILE, 2).tolist()
    across, along = x * distance * scale, z * distance * scale
    fine = _sample(across + shift[0], along + shift[1])
    broad = _sample(across / 14 + shift[1], along / 14 + shift[0])
    # The grain of the far ground is finer than a pixel: fade it instead of letting it flicker.
    grain = 0.34 * fine / (1 + distance / 9) + 0.16 * broad
    kept = np.exp(-distance / light.haze)
    near, far = kept * (1 + grain), 1 - kept
    lit = light.shade(albedo[None], np.array([[0.0, 1.0, 0.0]]))[0]
    return [near * own + far * haze for own, haze in zip(lit.tolist(), light.horizon.tolist(), strict=True)]


def _sample(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Noise in about −1…1 at positions in pixels of an endless tile."""
    noise: NDArray[np.float32] = _noise_tile()[y.astype(np.int32) & (_TILE - 1), x.astype(np.int32) & (_TILE - 1)]
    return noise


@functools.cache
def _noise_tile() -> NDArray[np.float32]:
    """Make a periodic (256, 256) tile of fractal noise with zero mean and standard deviation 0.4."""
    rng = np.random.default_rng(20)
    spectrum = np.fft.fft2(rng.standard_normal((_TILE, _TILE)))
    frequency = np.hypot(np.fft.fftfreq(_TILE)[:, None], np.fft.fftfreq(_TILE)[None]) * _TILE
    noise = np.fft.ifft2(spectrum / np.maximum(frequency, 2.0) ** 1.1).real
    tile: NDArray[np.float32] = (0.4 * (noise - noise.mean()) / noise.std()).astype(np.float32)
    return tile


def ground_quads(camera: Camera, canvas: Canvas, light: Light, quads: Floats, albedo: Floats) -> None:
    """Fill ground rectangles (n, 4) = x1 z1 x2 z2 in metres with one albedo (3,)."""
    x1, z1, x2, z2 = np.asarray(quads, dtype=np.float64).reshape(-1, 4).T
    flat = np.zeros_like(x1)
    corners = np.stack([[x1, flat, z1], [x2, flat, z1], [x2, flat, z2], [x1, flat, z2]], axis=0).transpose(2, 0, 1)
    colour = light.shade(albedo[None], np.array([[0.0, 1.0, 0.0]]))[0]
    near = np.maximum(np.abs(corners[..., 2]).min(axis=1), 1.0)
    colour = light.veil(colour, float(np.median(near)))
    fill(canvas, camera.project_polygons(corners), colour)


def street_markings(camera: Camera, canvas: Canvas, light: Light, road: float, rng: np.random.Generator) -> None:
    """Lay pavements with kerbs and joints beside a road of half-width ``road`` metres, and paint its lanes."""
    pavement = np.array([150.0, 146.0, 138.0]) * rng.uniform(0.85, 1.1)
    wide = rng.uniform(2.5, 4.0)
    verge = _GRASS * rng.uniform(0.8, 1.2) if rng.random() < 0.5 else pavement * 0.86
    for side in (-1.0, 1.0):
        edge, back = side * road, side * (road + wide)
        ground_quads(camera, canvas, light, np.array([[back, -2, side * 60, 140]]), verge)
        ground_quads(camera, canvas, light, np.array([[edge, -2, back, 140]]), pavement)
        ground_quads(camera, canvas, light, np.array([[edge, -2, edge + side * 0.16, 140]]), pavement * 1.22)
        joints = np.arange(2.0, 30.0, 1.5)
        rows = np.stack([np.full_like(joints, edge), joints, np.full_like(joints, back), joints + 0.04], axis=1)
        ground_quads(camera, canvas, light, rows, pavement * 0.82)
        inner = edge - side * 0.35
        if rng.random() < 0.6:
            ground_quads(camera, canvas, light, np.array([[inner, -2, inner - side * 0.1, 110]]), _PAINT)
    lanes = np.linspace(-road, road, int(rng.integers(2, 5)) + 1)[1:-1]
    starts = np.arange(rng.uniform(-3, 0), 100, 6.0)
    for lane in lanes:
        solid = rng.random() < 0.25
        x = np.full_like(starts, lane)
        rows = np.stack([x - 0.07, starts, x + 0.07, starts + (6.0 if solid else 3.0)], axis=1)
        ground_quads(camera, canvas, light, rows, _PAINT)
    if rng.random() < 0.35:
        stripes = np.arange(-road + 0.4, road - 0.4, 1.0)
        z = rng.uniform(7, 14)
        rows = np.stack([stripes, np.full_like(stripes, z), stripes + 0.5, np.full_like(stripes, z + 3)], axis=1)
        ground_quads(camera, canvas, light, rows, _PAINT)


def parking_bays(camera: Camera, canvas: Canvas, light: Light, rows: Floats, rng: np.random.Generator) -> None:
    """Paint bays 2.6 m wide and 5 m deep in rows that start at the depths ``rows`` (metres), and drains."""
    lines = np.arange(-31.2, 31.3, 2.6) + rng.uniform(-1, 1)
    paint = _PAINT if rng.random() < 0.8 else np.array([206.0, 178.0, 70.0])
    for z in rows:
        bays = np.stack([lines - 0.06, np.full_like(lines, z), lines + 0.06, np.full_like(lines, z + 5.0)], axis=1)
        ground_quads(camera, canvas, light, bays, paint)
        ground_quads(camera, canvas, light, np.array([[-40, z + 4.94, 40, z + 5.06]]), paint)
    for _ in range(int(rng.integers(1, 4))):
        x, z = rng.uniform(-6, 6), rng.uniform(4, 18)
        ground_quads(camera, canvas, light, np.array([[x, z, x + 0.7, z + 0.5]]), np.array([52.0, 52.0, 54.0]))


def box_building(
    camera: Camera, canvas: Canvas, light: Light, corner: Floats, size: Floats, rng: np.random.Generator
) -> None:
    """Draw an upright building with rows of windows on the faces that can be seen.

    Args:
        camera: the camera.
        canvas: drawn on in place.
        light: colours of light and haze.
        corner: x and z of the nearest left corner, metres.
        size: width along X, height, depth along Z, metres.
        rng: draws colours and windows.
    """
    (x, z), (width, height, depth) = corner, size
    albedo = _FACADES[rng.integers(len(_FACADES))] * rng.uniform(0.8, 1.1)
    glass = np.array([70.0, 82.0, 96.0]) * rng.uniform(0.7, 1.3)
    storey = rng.uniform(2.9, 3.6)
    spacing = rng.uniform(2.2, 3.4)
    faces = [
        (np.array([x, 0, z]), np.array([width, 0, 0]), np.array([0.0, 0.0, -1.0])),
        (np.array([x, 0, z]), np.array([0, 0, depth]), np.array([-1.0, 0.0, 0.0])),
        (np.array([x + width, 0, z]), np.array([0, 0, depth]), np.array([1.0, 0.0, 0.0])),
    ]
    for origin, along, normal in faces:
        if (np.array([0.0, camera.height, 0.0]) - origin) @ normal > 0:
            shaded = light.shade(np.stack([albedo, glass, albedo * 0.8, glass * 1.5]), np.repeat(normal[None], 4, 0))
            middle = max(float(np.linalg.norm((origin + along / 2)[[0, 2]])), 4.0)
            _facade(camera, canvas, light.veil(shaded, middle), origin, along, height, (storey, spacing), rng)


def _facade(
    camera: Camera,
    canvas: Canvas,
    colours: Floats,
    origin: Floats,
    along: Floats,
    height: float,
    grid: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """Draw one wall: plaster, a darker plinth, window holes, and panes of which some reflect the sky."""
    wall, dark_glass, plinth, bright_glass = colours
    storey, spacing = grid
    length = float(np.linalg.norm(along))
    bands = np.array([(0, 0, 1, height), (0, 0, 1, 0.7), (0, height - 0.4, 1, height)])
    for outline, colour in zip(
        camera.project_polygons(_wall_quads(origin, along, bands)), (wall, plinth, plinth), strict=False
    ):
        fill(canvas, [outline], colour)
    columns = np.arange(spacing * 0.3, length - spacing * 0.7, spacing) / length
    levels = np.arange(1.0, height - 1.6, storey)
    if not len(columns) or not len(levels):
        return
    u, v = (grid_.ravel() for grid_ in np.meshgrid(columns, levels))
    pane = 0.55 * spacing / length
    panes = _wall_quads(origin, along, np.stack([u, v, u + pane, v + 0.5 * storey], axis=1))
    local = camera.to_camera(panes)
    outlines = camera.to_canvas(local)
    # A pane that reaches behind the camera or is narrower than a pixel cannot be drawn well; the wall stands for it.
    wide = np.ptp(outlines[..., 0], axis=1) + np.ptp(outlines[..., 1], axis=1) > 4
    drawn = (local[..., 2].min(axis=1) > 1.0) & wide
    bright = rng.random(len(panes)) < 0.2
    fill(canvas, outlines[drawn & ~bright], dark_glass)
    fill(canvas, outlines[drawn & bright], bright_glass)


def _wall_quads(origin: Floats, along: Floats, spans: Floats) -> Floats:
    """Corners (n, 4, 3) of rectangles on a wall: ``spans`` (n, 4) = from-fraction, bottom, to-fraction, top."""
    left, bottom, right, top = spans.T
    corners = [(left, bottom), (right, bottom), (right, top), (left, top)]
    up = np.array([0.0, 1.0, 0.0])
    return np.stack([origin + s[:, None] * along + h[:, None] * up for s, h in corners], axis=1)


def tree(camera: Camera, canvas: Canvas, light: Light, x: float, z: float, rng: np.random.Generator) -> None:
    """Draw a tree: a trunk and clumps of leaves, darker below and away from the sun."""
    height = rng.uniform(4.5, 8.0)
    crown = height * rng.uniform(0.26, 0.34)
    distance = float(np.hypot(x, z))
    bark = light.veil(light.shade(np.array([[88.0, 70.0, 54.0]]), np.array([[0.0, 0.0, -1.0]]))[0], distance)
    trunk = np.array([[x - 0.14, 0, z], [x + 0.14, 0, z], [x + 0.1, height * 0.6, z], [x - 0.1, height * 0.6, z]])
    fill(canvas, camera.project_polygons(trunk[None]), bark)
    offsets = rng.normal(0, 0.5, (_CLUMPS, 3)).clip(-1, 1)
    offsets = offsets[np.argsort(offsets[:, 1])]
    normals = offsets / np.maximum(np.linalg.norm(offsets, axis=1, keepdims=True), 0.3)
    leaves = np.array([74.0, 100.0, 48.0]) * rng.uniform(0.8, 1.25) * rng.uniform(0.85, 1.15, 3)
    colours = light.veil(light.shade(np.repeat(leaves[None], _CLUMPS, 0), normals), distance)
    local = camera.to_camera(np.array([x, height - crown, z]) + offsets * crown)
    radii = rng.uniform(0.3, 0.5, _CLUMPS) * crown * camera.focal * SUPERSAMPLING / np.maximum(local[:, 2], 1.0)
    turn = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    ragged = np.stack([np.cos(turn), np.sin(turn)], axis=1) * rng.uniform(0.8, 1.15, (_CLUMPS, 10, 1))
    fill_each(canvas, camera.to_canvas(local)[:, None] + ragged * radii[:, None, None], colours)


def lamp_post(camera: Camera, canvas: Canvas, light: Light, x: float, z: float, arm: float) -> None:
    """Draw a street lamp 6.5 m high whose arm reaches ``arm`` metres along X."""
    metal = light.veil(
        light.shade(np.array([[92.0, 96.0, 98.0]]), np.array([[0.0, 0.0, -1.0]]))[0], float(np.hypot(x, z))
    )
    top, thick = 6.5, 0.08
    post = np.array([[x - thick, 0, z], [x + thick, 0, z], [x + thick / 2, top, z], [x - thick / 2, top, z]])
    bar = np.array([[x, top, z], [x + arm, top + 0.3, z], [x + arm, top + 0.42, z], [x, top + 0.12, z]])
    fill(canvas, camera.project_polygons(np.stack([post, bar])), metal)


def cast_shadow(canvas: Canvas, outline: Floats, strength: float) -> None:
    """Darken the canvas inside a convex outline (k, 2) by the share ``strength``, with a soft edge."""
    low = np.floor(outline.min(axis=0) - 3).astype(int)
    high = np.ceil(outline.max(axis=0) + 3).astype(int)
    height, width = canvas.shape[:2]
    x1, y1 = max(low[0], 0), max(low[1], 0)
    x2, y2 = min(high[0], width), min(high[1], height)
    if x2 - x1 < 2 or y2 - y1 < 2:
        return
    mask = np.zeros((y2 - y1, x2 - x1), dtype=np.uint8)
    cv2.fillConvexPoly(mask, np.round(outline - [x1, y1]).astype(np.int32), 255)
    soft = cv2.blur(mask, (5, 5))
    region = canvas[y1:y2, x1:x2, :3]
    kept = 255 - (soft.astype(np.float32) * strength)
    region[:] = cv2.multiply(region, cv2.merge([kept, kept, kept]), scale=1 / 255, dtype=cv2.CV_8U)
