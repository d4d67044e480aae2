"""From the z-buffer to a picture: material, light, shadow, reflection, haze, film."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.atlas import Atlas
from streamvis.source.synth.camera import Camera
from streamvis.source.synth.light import Light
from streamvis.source.synth.mesh import Floats, Mesh
from streamvis.source.synth.raster import ScreenTriangles, planes
from streamvis.source.synth.shadow import Sunlight

_TO_LINEAR = ((np.arange(256) / 255) ** 2.2).astype(np.float32)
_FILM_STEPS = 4096
_FILM_WHITE = 3.0  # linear light that the film shows as white


def _film_curve() -> NDArray[np.uint8]:
    """Linear light -> sRGB: a shoulder that keeps highlights, a toe that keeps blacks black."""
    light = np.linspace(0, _FILM_WHITE, _FILM_STEPS)
    tone = ((1 - np.exp(-1.5 * light)) / (1 - np.exp(-1.5 * _FILM_WHITE))) ** (1 / 2.2)
    contrast = tone + 0.32 * (tone - 0.5) * tone * (1 - tone) * 2
    return np.asarray(np.rint(255 * np.clip(contrast, 0, 1)), np.uint8)


_FILM = _film_curve()


@dataclass(frozen=True)
class Seen:
    """What each pixel [H, W] shows."""

    triangle: NDArray[np.int32]  # row of the ScreenTriangles; -1 = sky
    depth: Floats  # m along the optical axis; large for sky


def shade(
    seen: Seen,
    screen: ScreenTriangles,
    mesh: Mesh,
    camera: Camera,
    atlas: Atlas,
    sunlight: Sunlight,
) -> NDArray[np.uint8]:
    """The picture [H, W, 3] sRGB."""
    light, is_sky = sunlight.light, seen.triangle < 0
    surface = _surface(seen, screen, mesh, camera, atlas)
    point = camera.position.astype(np.float32) + camera.rays * seen.depth[..., None]
    squarely, freely = sunlight.share(point, surface.normal)
    arriving = sunlight.ambient(point, surface.normal)
    arriving += light.sun * (squarely * freely)[..., None]
    colour = surface.albedo * (arriving + surface.glow[..., None])
    _reflect(colour, surface, camera.rays, freely, light)
    clear = np.exp(-seen.depth / np.float32(light.haze_m))[..., None]
    colour = light.haze + (colour - light.haze) * clear
    colour[is_sky] = light.sky_towards(camera.rays[is_sky])
    return develop(colour)


@dataclass(frozen=True)
class _Surface:
    """Per pixel [H, W]."""

    albedo: Floats  # [..., 3] linear
    normal: Floats  # [..., 3] towards the viewer
    cosine: Floats  # between normal and view
    gloss: Floats
    glow: Floats


def _surface(
    seen: Seen, screen: ScreenTriangles, mesh: Mesh, camera: Camera, atlas: Atlas
) -> _Surface:
    # Only triangles in front need their coefficients.
    is_shown = np.zeros(len(screen.source), bool)
    is_shown[seen.triangle] = True  # sky pixels borrow the last triangle and are painted over
    shown = np.flatnonzero(is_shown)
    compact = (np.cumsum(is_shown) - 1)[seen.triangle]
    values = screen.vertex[shown][..., 3:] / screen.depth[shown][..., None]
    plane = planes(screen.screen[shown], values).astype(np.float32)  # [T, 3, 5]
    source = screen.source[shown]
    x = np.arange(camera.width, dtype=np.float32) + 0.5
    y = (np.arange(camera.height, dtype=np.float32) + 0.5)[:, None]

    def interpolate(k: int) -> Floats:
        p = plane[:, :, k]
        value: Floats = p[:, 0][compact] * x + p[:, 1][compact] * y + p[:, 2][compact]
        return value * seen.depth

    normal = _unit(np.stack([interpolate(k) for k in (2, 3, 4)], -1))
    cosine = -np.einsum("...c,...c", normal, _unit(camera.rays))
    normal *= np.where(cosine < 0, np.float32(-1), np.float32(1))[..., None]
    cosine = np.abs(cosine)

    texture, gloss, glow = (mesh.material[source, k][compact] for k in range(3))
    # Seen at a slant, a pixel covers more of the surface along one axis: meet half way.
    footprint = seen.depth / camera.focal_px / np.sqrt(np.maximum(cosine, 0.02))
    texel = atlas.sample(texture.astype(np.intp), interpolate(0), interpolate(1), footprint)
    albedo = _TO_LINEAR[texel[..., :3]] * mesh.colour[source][compact]
    gloss = np.maximum(gloss, texel[..., 3] * np.float32(1 / 255))
    return _Surface(albedo, normal, cosine, gloss, glow)


def _unit(vector: Floats) -> Floats:
    length = np.sqrt(np.einsum("...c,...c", vector, vector))[..., None]
    return np.asarray(vector / np.maximum(length, np.float32(1e-9)), np.float32)


def _reflect(colour: Floats, surface: _Surface, rays: Floats, lit: Floats, light: Light) -> None:
    """Mix the mirrored sky and sun into glossy pixels, in place."""
    rows, cols = np.nonzero(surface.gloss > 0.02)
    normal, gloss = surface.normal[rows, cols], surface.gloss[rows, cols, None]
    ray = _unit(rays[rows, cols])
    away = ray - 2 * np.einsum("nc,nc->n", ray, normal)[:, None] * normal
    sky = light.sky_towards(away)
    # Streets are canyons: low reflections meet the houses opposite, still lower ones the road.
    street = np.array([0.20, 0.19, 0.18], np.float32)
    rise = np.clip((away[:, 2:] - 0.12) / 0.3, 0, 1)
    mirrored = street * (1 - rise) + sky * rise
    mirrored *= np.clip(1 + 1.2 * np.minimum(away[:, 2:], 0), 0.4, 1)
    slant = (1 - surface.cosine[rows, cols, None]) ** 5
    share = gloss * (0.14 + 0.86 * slant)
    sparkle = np.clip(away @ light.to_sun.astype(np.float32), 0, 1) ** 180
    found = colour[rows, cols] * (1 - share) + mirrored * share
    found += (1.2 * sparkle * lit[rows, cols])[:, None] * gloss * light.sun
    colour[rows, cols] = found


def develop(colour: Floats) -> NDArray[np.uint8]:
    """Linear light [H, W, 3] -> sRGB, a little more vivid, as cameras make it."""
    grey = colour.mean(-1, keepdims=True)
    colour = grey + np.float32(1.22) * (colour - grey)
    step = np.clip(colour * ((_FILM_STEPS - 1) / _FILM_WHITE), 0, _FILM_STEPS - 1)
    return np.asarray(_FILM[step.astype(np.uint16)], np.uint8)


def expose(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The lens's darker corners and the sensor's grain, on [H, W, 3] of the final size."""
    height, width = image.shape[:2]
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    lens = (1 - 0.09 * (x**2 + y**2)).astype(np.float32)[..., None]
    grain = rng.standard_normal((height, width, 1), dtype=np.float32)
    return np.asarray(np.clip(image * lens + grain + np.float32(0.5), 0, 255), np.uint8)
