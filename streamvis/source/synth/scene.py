"""A street that can be photographed at any moment: all it shows follows from (seed, time)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth import raster, scenery
from streamvis.source.synth.camera import RIG, Camera, quaternion
from streamvis.source.synth.crowd import Crowd
from streamvis.source.synth.light import Light
from streamvis.source.synth.mesh import Clusters, Mesh, merge
from streamvis.source.synth.plan import random_plan
from streamvis.source.synth.raster import Fragments, ScreenTriangles
from streamvis.source.synth.shade import Seen, expose, shade
from streamvis.source.synth.shadow import Contact, ShadowMap, Sunlight
from streamvis.source.synth.town import TownBuilder
from streamvis.source.synth.traffic import Body

START_NS = 1_760_000_000_000_000_000  # Unix epoch of every scene's first trigger
SKY_DEPTH_M = 3000.0
CONTACT_RADIUS_M = 60.0
MOVING_REACH_M = 120.0  # what is farther is a handful of pixels
SHADOW_REACH_M = 20.0
MAX_SECONDS = 180  # the whole street is built, and lies in one shadow map


@dataclass(frozen=True)
class SceneConfig:
    seed: int = 1
    num_frames: int = 90  # per camera
    fps: int = 15
    width: int = 960  # px
    height: int = 540
    cameras: tuple[str, ...] = tuple(RIG)
    supersample: int = 1  # 2 is four times slower, without jagged edges

    def __post_init__(self) -> None:
        for name in ("num_frames", "fps", "supersample"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("width", "height"):
            size = getattr(self, name)
            if not 64 <= size <= 4096 or size % 2:
                raise ValueError(f"{name} must be even and from 64 to 4096, got {size}")
        unknown = [c for c in self.cameras if c not in RIG]
        if unknown or not self.cameras:
            raise ValueError(f"cameras must be some of {', '.join(RIG)}, got {list(self.cameras)}")
        if self.duration_s > MAX_SECONDS:
            raise ValueError(f"a scene lasts at most {MAX_SECONDS} s, got {self.duration_s:g} s")
        if len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"a camera is named twice in {list(self.cameras)}")

    @property
    def duration_s(self) -> float:
        return self.num_frames / self.fps


@dataclass(frozen=True)
class RenderedObject:
    """One labelled object in one picture."""

    track_id: int
    category: str  # one of streamvis.types.CLASSES
    xyxy: tuple[int, int, int, int]  # tight on visible pixels, px; right and bottom exclusive
    visible_fraction: float  # of its pixels inside the picture that nothing hides
    depth_m: float  # of its middle, along the optical axis
    centre_m: tuple[float, float, float]  # world


@dataclass(frozen=True)
class RenderedFrame:
    camera: str
    index: int
    capture_ns: int  # Unix epoch
    image: NDArray[np.uint8]  # [H, W, 3] RGB
    ids: NDArray[np.int32]  # [H, W] track id of what the pixel shows; 0 = scenery or sky
    objects: tuple[RenderedObject, ...]


@dataclass(frozen=True)
class _Take:
    """One camera at one moment, before there is light."""

    view: Camera  # at the rendered size
    moving: list[Body]
    mesh: Mesh
    screen: ScreenTriangles
    found: Fragments

    def owner(self, triangle: NDArray[np.int32]) -> NDArray[np.int32]:
        """Track ids of screen triangles; -1, the sky, has none."""
        return np.append(self.mesh.owner[self.screen.source], np.int32(0))[triangle]


class StreetScene:
    """`render` gives one camera's picture of one frame; any frame, in any order."""

    def __init__(self, config: SceneConfig) -> None:
        self.config = config
        # One stream of chance each, so that more trees do not repaint the cars.
        looks, light, plan, layout, crowd = (
            np.random.default_rng([config.seed, k]) for k in range(5)
        )
        ids = count(1)
        self._materials = scenery.random_materials(looks)
        self._light = Light.random(light)
        self._plan = random_plan(plan, config.duration_s)
        self._town = TownBuilder(layout, self._materials, self._plan, ids).build()
        self._actors = Crowd(crowd, self._plan, ids).gather()
        labelled = [b.mesh for b in self._town.fixtures]
        self._standing = Clusters(merge([self._town.ground, self._town.scenery, *labelled]))

    def render(self, camera: str, index: int) -> RenderedFrame:
        take = self._take(camera, index)
        triangle, nearness = raster.nearest(take.found, take.view.width * take.view.height)
        shape = (take.view.height, take.view.width)
        depth = np.reciprocal(np.maximum(nearness, np.float32(1 / SKY_DEPTH_M)))
        image = self._shade(take, Seen(triangle.reshape(shape), depth.reshape(shape)))
        ids = take.owner(triangle).reshape(shape)
        if self.config.supersample > 1:
            size = (self.config.width, self.config.height)
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
            ids = np.asarray(cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST), np.int32)
        number = list(RIG).index(camera)
        image = expose(image, np.random.default_rng([self.config.seed, number, index]))
        t_ns = self.capture_ns(camera, index)
        return RenderedFrame(camera, index, t_ns, image, ids, self._objects(take, ids))

    def capture_ns(self, camera: str, index: int) -> int:
        return START_NS + index * 1_000_000_000 // self.config.fps + RIG[camera].delay_ns

    def camera(self, camera: str, index: int) -> Camera:
        """The pinhole camera at one frame, at the size of the picture."""
        t = self._seconds(camera, index)
        pose = self._plan.drive.pose(t)
        return Camera.on_rig(RIG[camera], pose, self.config.width, self.config.height)

    def rig(self) -> dict[str, Any]:
        """What rig.json holds."""
        return {name: self._rig_entry(name) for name in self.config.cameras}

    def _rig_entry(self, name: str) -> dict[str, Any]:
        views = [self.camera(name, i) for i in range(self.config.num_frames)]
        focal, (cx, cy) = views[0].focal_px, views[0].centre_px
        return {
            "file": f"{name}.mp4",
            "width": self.config.width,
            "height": self.config.height,
            "fps": self.config.fps,
            "intrinsics": {"fx": focal, "fy": focal, "cx": cx, "cy": cy},
            "capture_ns": [self.capture_ns(name, i) for i in range(len(views))],
            "poses": [
                {
                    "position": dict(zip("xyz", map(float, v.position), strict=True)),
                    "heading": quaternion(v.rotation),
                }
                for v in views
            ],
        }

    def _seconds(self, camera: str, index: int) -> float:
        return (self.capture_ns(camera, index) - START_NS) / 1e9

    def _take(self, camera: str, index: int) -> _Take:
        k = self.config.supersample
        view = self.camera(camera, index)
        view = replace(
            view, focal_px=view.focal_px * k, width=view.width * k, height=view.height * k
        )
        moving = self._moving(view, self._seconds(camera, index))
        mesh = merge([self._standing.seen_by(view), *(b.mesh for b in moving)])
        screen = raster.project(mesh, view)
        found = raster.fragments(screen.screen, 1 / screen.depth, view.width, view.height)
        return _Take(view, moving, mesh, screen, found)

    def _moving(self, view: Camera, t: float) -> list[Body]:
        """Bodies that can be in the picture, or throw a shadow into it."""
        actors = self._actors
        where = np.array([(*actor.path.at(t)[:2], 1.0) for actor in actors])
        away = np.linalg.norm(where - view.position, axis=1)
        shown = (view.may_see(where, 7.0) & (away < MOVING_REACH_M)) | (away < SHADOW_REACH_M)
        return [body for k in np.flatnonzero(shown) for body in actors[k].bodies(t)]

    def _shade(self, take: _Take, seen: Seen) -> NDArray[np.uint8]:
        heights = self._shadow.with_moving(merge(b.mesh for b in take.moving))
        x, y = (float(v) for v in take.view.position[:2])
        outlines = [b.outline for b in (*self._town.fixtures, *take.moving) if len(b.outline)]
        contact = Contact(outlines, (x, y), CONTACT_RADIUS_M)
        sunlight = Sunlight(self._light, self._shadow, heights, contact)
        return shade(seen, take.screen, take.mesh, take.view, self._materials.atlas, sunlight)

    @cached_property
    def _shadow(self) -> ShadowMap:
        low, high = self._plan.low, self._plan.high
        shadow = ShadowMap(
            self._light,
            np.array([low, -scenery.HOUSE_Y, 0.0]),
            np.array([high, scenery.HOUSE_Y, 9.0]),
        )
        shadow.add_static(merge([self._town.scenery, *(b.mesh for b in self._town.fixtures)]))
        return shadow

    def _objects(self, take: _Take, ids: NDArray[np.int32]) -> tuple[RenderedObject, ...]:
        whole = _silhouettes(take.owner(take.found.triangle), take.found.pixel)
        pixels = self.config.supersample**2
        known = {b.track_id: b for b in (*self._town.fixtures, *take.moving)}
        objects = []
        for track_id, (xyxy, num_visible) in _boxes(ids).items():
            body = known[track_id]
            visible = min(1.0, num_visible * pixels / whole[track_id])
            depth_m = float(take.view.to_optical(np.array(body.centre))[2])
            objects.append(
                RenderedObject(track_id, body.category, xyxy, visible, depth_m, body.centre)
            )
        return tuple(objects)


def _silhouettes(owner: NDArray[np.int32], pixel: NDArray[np.int32]) -> dict[int, int]:
    """Track id -> how many pixels the object would cover alone."""
    owned = np.flatnonzero(owner)
    owned = owned[np.argsort(owner[owned], kind="stable")]
    ids, start = np.unique(owner[owned], return_index=True)
    last = np.zeros(pixel.max(initial=0) + 1, np.int32)
    sizes = {}
    for track_id, covered in zip(ids.tolist(), np.split(pixel[owned], start[1:]), strict=True):
        # Triangles of one object overlap: count each pixel where its last visitor stands.
        order = np.arange(len(covered), dtype=np.int32)
        last[covered] = order
        sizes[track_id] = int((last[covered] == order).sum())
    return sizes


def _boxes(ids: NDArray[np.int32]) -> dict[int, tuple[tuple[int, int, int, int], int]]:
    """Track id -> (tight xyxy, visible pixels)."""
    rows, cols = np.nonzero(ids)
    found, group, counts = np.unique(ids[rows, cols], return_inverse=True, return_counts=True)
    low = np.full((len(found), 2), np.iinfo(np.int32).max)
    high = np.full((len(found), 2), -1)
    for k, axis in enumerate((cols, rows)):
        np.minimum.at(low[:, k], group, axis)
        np.maximum.at(high[:, k], group, axis)
    return {
        int(i): ((int(x0), int(y0), int(x1) + 1, int(y1) + 1), int(n))
        for i, (x0, y0), (x1, y1), n in zip(found, low, high, counts, strict=True)
    }
