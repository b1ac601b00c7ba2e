"""The annotated things of a scene: who stands where, and how it is drawn."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from xai.demo import people, vehicles
from xai.demo.camera import Camera, Canvas, Floats, fill_each
from xai.demo.light import Light

CLASSES = ("car", "truck", "person")

FOOTPRINTS: Mapping[str, float] = {"car": 2.2, "truck": 3.4, "person": 0.35}
"""Radius in metres of the ground that nobody else stands on."""


_SIGNS = np.array([(a, b, c) for a in (-0.5, 0.5) for b in (0.0, 1.0) for c in (-0.5, 0.5)])


@dataclass(frozen=True, slots=True)
class Actor:
    """One annotated thing and where it stands.

    Attributes:
        label: one of ``CLASSES``.
        x: metres to the right of the camera.
        z: metres in front of the camera.
        heading: degrees; 0 drives or walks away from the camera, 90 to the right.
        look: seed of its shape, colours and pose.
    """

    label: str
    x: float
    z: float
    heading: float
    look: int


def extent(actor: Actor) -> Floats:
    """Corners (8, 3) in world axes of a box around an actor."""
    return _place(_SIGNS * _size(actor.label, actor.look), actor)


@functools.lru_cache(maxsize=256)
def _size(label: str, look: int) -> Floats:
    """Length, height and width, drawn from the seed first of all, so that the drawing has the same."""
    draw_size = {"car": vehicles.car_size, "truck": vehicles.truck_size, "person": people.person_size}[label]
    size: Floats = draw_size(np.random.default_rng(look))
    return size


def draw(camera: Camera, canvas: Canvas, light: Light, actor: Actor, owner: int) -> None:
    """Draw an actor over what is on the canvas and write its owner number."""
    rng = np.random.default_rng(actor.look)
    if actor.label == "person":
        limbs = people.person(rng)
        people.draw_limbs(camera, canvas, light, limbs, _place(limbs.ends, actor), owner)
        return
    parts = vehicles.car(rng) if actor.label == "car" else vehicles.truck(rng)
    eye = np.array([0.0, camera.height, 0.0])
    placed = [(part, _place(part.corners, actor)) for part in parts]
    placed.sort(key=lambda item: -float(np.linalg.norm(item[1].mean(axis=(0, 1)) - eye)))
    for part, corners in placed:
        _draw_faces(camera, canvas, light, corners, part.albedo, owner)


def shadow_outline(camera: Camera, light: Light, actor: Actor) -> Floats:
    """Convex outline (k, 2) on the canvas of the shadow that an actor casts on the ground."""
    corners = extent(actor)
    reach = 1.0 / max(light.towards_sun[1], 0.3)
    ground = corners - corners[:, 1:2] * light.towards_sun * reach
    ground[:, 1] = 0.0
    hull = cv2.convexHull(camera.project(ground).astype(np.float32))
    outline: Floats = hull[:, 0].astype(np.float64)
    return outline


def _place(points: Floats, actor: Actor) -> Floats:
    """Turn local points (..., 3) (forward, up, right) into world axes."""
    angle = np.deg2rad(actor.heading)
    forward = [np.sin(angle), 0.0, np.cos(angle)]
    right = [np.cos(angle), 0.0, -np.sin(angle)]
    placed: Floats = points @ np.array([forward, [0.0, 1.0, 0.0], right]) + np.array([actor.x, 0.0, actor.z])
    return placed


def _draw_faces(camera: Camera, canvas: Canvas, light: Light, corners: Floats, albedo: Floats, owner: int) -> None:
    """Draw the faces (f, 4, 3) of one convex part that look at the camera, in order."""
    flat = corners.reshape(-1, 3)
    middle = (flat.min(axis=0) + flat.max(axis=0)) / 2
    centres = corners.mean(axis=1)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    normals *= np.where(((centres - middle) * normals).sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    eye = np.array([0.0, camera.height, 0.0])
    seen = ((eye - centres) * normals).sum(axis=1) > 0
    colours = light.shade(albedo, normals)
    glossy = (albedo == vehicles.GLASS).all(axis=1)
    colours[glossy] += 0.3 * light.horizon * np.maximum(normals[glossy, 1:2], 0.1)
    colours = light.veil(colours, float(np.linalg.norm(middle)))
    outlines = camera.project(corners)
    fill_each(canvas, outlines[seen], colours[seen], owner)
