"""A street that can be photographed at any moment: all it shows follows from (seed, time)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.camera import SITES, Camera, Mount, RigPose, quaternion
from streamvis.source.synth.light import WEATHERS, Light
from streamvis.source.synth.model import furniture
from streamvis.source.synth.paint.textures import paint_all
from streamvis.source.synth.render.renderer import Film, Picture, Renderer, Shot
from streamvis.source.synth.render.things import Thing, group
from streamvis.source.synth.world.actors import Body
from streamvis.source.synth.world.crowd import Crowd
from streamvis.source.synth.world.layout import HOUSE_Y, random_plan
from streamvis.source.synth.world.signals import Signals
from streamvis.source.synth.world.town import TownBuilder

START_NS = 1_760_000_000_000_000_000  # Unix epoch of every scene's first trigger
MOVING_REACH_M = 150.0  # what is farther is a handful of pixels
SHADOW_REACH_M = 25.0
LAMP_REACH_M = 90.0
MAX_SECONDS = 180  # the whole town is built before the first frame


@dataclass(frozen=True)
class SceneConfig:
    seed: int = 1
    num_frames: int = 90  # per camera
    fps: int = 15
    width: int = 960  # px
    height: int = 540
    cameras: tuple[str, ...] = ()  # of the rig; () = all
    weather: str = "day"
    site: str = "drive"  # or where a fixed camera stands
    rig: Mapping[str, Mount] = field(default_factory=dict)  # empty = the site's own
    film: Film = field(default_factory=lambda: Film(samples=2))

    def __post_init__(self) -> None:
        for name in ("num_frames", "fps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.film.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.film.samples}")
        for name in ("width", "height"):
            size = getattr(self, name)
            if not 64 <= size <= 4096 or size % 2:
                raise ValueError(f"{name} must be even and from 64 to 4096, got {size}")
        for name, known in (("weather", WEATHERS), ("site", SITES)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        object.__setattr__(self, "rig", dict(self.rig) or SITES[self.site])
        object.__setattr__(self, "cameras", self.cameras or tuple(self.rig))
        unknown = [c for c in self.cameras if c not in self.rig]
        if unknown:
            raise ValueError(
                f"cameras must be some of {', '.join(self.rig)}, got {list(self.cameras)}"
            )
        if self.duration_s > MAX_SECONDS:
            raise ValueError(f"a scene lasts at most {MAX_SECONDS} s, got {self.duration_s:g} s")
        if len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"a camera is named twice in {list(self.cameras)}")
        for name in self.cameras:
            view = Camera.on_rig(self.rig[name], RigPose(0, 0, 0), self.width, self.height)
            if view.lens_folds:
                raise ValueError(
                    f"camera {name!r}: the lens {list(view.lens)} bends this wide a view too much; "
                    "take smaller numbers or a smaller hfov_deg"
                )

    @property
    def duration_s(self) -> float:
        return self.num_frames / self.fps

    def camera_number(self, camera: str) -> int:
        """Its place in the rig, which the frame code carries."""
        return list(self.rig).index(camera)


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
    depth: NDArray[np.float32]  # [H, W] m along the optical axis; SKY_M = sky
    objects: tuple[RenderedObject, ...]


class StreetScene:
    """`render` gives one camera's picture of one frame; any frame, in any order."""

    def __init__(self, config: SceneConfig) -> None:
        self.config = config
        # One stream of chance each, so that more trees do not repaint the cars.
        looks, light, plan, layout, crowd = (
            np.random.default_rng([config.seed, k]) for k in range(5)
        )
        ids = count(1)
        self._looks = looks
        self.light = Light.random(light, config.weather)
        self._plan = random_plan(plan, config.duration_s)
        self._signals = Signals(self._plan.phase_s, split=self._plan.turn == "left")
        self._town = TownBuilder(layout, self._plan, ids, self.light.lamps_on).build()
        self._actors, self._way = Crowd(
            crowd, self._plan, self._signals, ids, config.duration_s,
            has_lights=self.light.lamps_on, has_rig=config.site == "drive",
        ).gather()  # fmt: skip
        self._heads = {lamp: furniture.signal_head(lamp) for lamp in ("red", "amber", "green")}
        self._parked = [body for car in self._town.parked for body in car.bodies(0.0)]

    def render(self, camera: str, index: int) -> RenderedFrame:
        t, view = self.seconds(camera, index), self.camera(camera, index)
        picture = self._renderer.render(self._shot(camera, index, view, t), self.config.film)
        objects = self._objects(view, picture, self.bodies(t))
        ids, depth = view.bend(picture.ids), view.bend(picture.depth)
        return RenderedFrame(
            camera, index, self.capture_ns(camera, index), picture.image, ids, depth, objects
        )

    def capture_ns(self, camera: str, index: int) -> int:
        delay_ns = self.config.rig[camera].delay_ns
        return START_NS + index * 1_000_000_000 // self.config.fps + delay_ns

    def camera(self, camera: str, index: int) -> Camera:
        """The camera at one frame."""
        return self._camera_at(camera, self.seconds(camera, index))

    def bodies(self, t: float) -> dict[int, Body]:
        """All labelled things at `t` seconds, by track id."""
        signals = (
            Body(s.track_id, "traffic_light", s.centre, (0, 0, 0), 0.0, 0.0)
            for s in self._town.signals
        )
        moving = (body for actor in self._actors for body in actor.bodies(t))
        return {b.track_id: b for b in (*self._town.fixtures, *self._parked, *signals, *moving)}

    def attributes(self) -> dict[str, Any]:
        """What labels.json says about the scene."""
        return {
            "time_of_day": {"overcast": "day", "rain": "day"}.get(self.light.name, self.light.name),
            "weather": self.light.name if self.light.name in ("rain", "overcast") else "clear",
            "street": self.config.site,
            "manoeuvre": self._plan.turn if self._way else "fixed",
            "seed": self.config.seed,
        }

    def rig(self) -> dict[str, Any]:
        """What rig.json holds."""
        return {name: self._rig_entry(name) for name in self.config.cameras}

    def _rig_entry(self, name: str) -> dict[str, Any]:
        views = [self.camera(name, i) for i in range(self.config.num_frames)]
        focal, (cx, cy) = views[0].focal_px, views[0].centre_px
        intrinsics = {"fx": focal, "fy": focal, "cx": cx, "cy": cy}
        if any(views[0].lens):
            intrinsics |= dict(zip(("k1", "k2"), views[0].lens, strict=True))
        return {
            "file": f"{name}.mp4",
            "width": self.config.width,
            "height": self.config.height,
            "fps": self.config.fps,
            "intrinsics": intrinsics,
            "capture_ns": [self.capture_ns(name, i) for i in range(len(views))],
            "poses": [
                {
                    "position": dict(zip("xyz", map(float, v.position), strict=True)),
                    "heading": quaternion(v.rotation),
                }
                for v in views
            ],
        }

    def seconds(self, camera: str, index: int) -> float:
        """Since the scene's start, at the middle of the exposure."""
        return (self.capture_ns(camera, index) - START_NS) / 1e9

    def _camera_at(self, camera: str, t: float) -> Camera:
        mount = self.config.rig[camera]
        return Camera.on_rig(mount, self._pose(t), self.config.width, self.config.height)

    def _pose(self, t: float) -> RigPose:
        if self._way is not None:
            return RigPose(*self._way.at(t))
        gate = self._plan.junctions[self._plan.gate]
        middle = sum(self._plan.car_park) / 2
        return {
            "gantry": RigPose(gate - 4.0, 0.0, 0.0),
            "corner": RigPose(gate - HOUSE_Y + 0.8, -HOUSE_Y + 0.8, np.pi / 4),
            "car_park": RigPose(middle, HOUSE_Y - 3.4, np.pi / 2),
        }[self.config.site]

    def _shot(self, camera: str, index: int, view: Camera, t: float) -> Shot:
        before, after = (self._camera_at(camera, t + s) for s in (-0.02, 0.02))
        spin = 0.0
        if self._way is not None:
            spin = (self._way.at(t + 0.02)[2] - self._way.at(t - 0.02)[2]) / 0.04
        lamps = [
            lamp
            for lamp in self._lamps(t)
            if np.hypot(*(np.array(lamp.at[:2]) - view.position[:2])) < LAMP_REACH_M
        ]
        seed = (self.config.seed * 64 + self.config.camera_number(camera)) * 100_000 + index
        drift = (after.position - before.position) / 0.04
        return Shot(view, drift, spin, group(self._moving(view, t)), lamps, seed)

    def _lamps(self, t: float) -> list[Any]:
        if not self.light.lamps_on:
            return []
        return [*self._town.lamps, *(lamp for a in self._actors for lamp in a.lights(t))]

    def _moving(self, view: Camera, t: float) -> list[Thing]:
        """What can be in the picture, or throw a shadow into it, and changes."""
        actors = self._actors
        where = np.array([(*actor.motion.at(t)[:2], 1.0) for actor in actors]).reshape(-1, 3)
        away = np.linalg.norm(where - view.position, axis=1)
        shown = (view.may_see(where, 7.0) & (away < MOVING_REACH_M)) | (away < SHADOW_REACH_M)
        things = [thing for k in np.flatnonzero(shown) for thing in actors[k].things(t)]
        lit = {m: self._signals.lamp(m, t) for m in ("ahead", "back", "cross")}
        heads = (
            Thing(self._heads[lit[s.movement]], s.matrix, s.track_id) for s in self._town.signals
        )
        return [*things, *heads]

    @cached_property
    def _renderer(self) -> Renderer:
        parked = [thing for car in self._town.parked for thing in car.things(0.0)]
        still = group([*self._town.things, *parked])
        return Renderer(
            paint_all(self._looks), self.light, still, (self.config.width, self.config.height)
        )

    def _objects(
        self, view: Camera, picture: Picture, known: dict[int, Body]
    ) -> tuple[RenderedObject, ...]:
        objects = []
        seen = np.bincount(picture.ids.reshape(-1))
        for track_id, xyxy in _boxes(view.bend(picture.ids)).items():
            body = known[track_id]
            visible = min(1.0, float(seen[track_id]) / max(1, picture.whole_px.get(track_id, 1)))
            depth_m = float(view.to_optical(np.array(body.centre))[2])
            objects.append(
                RenderedObject(track_id, body.category, xyxy, visible, depth_m, body.centre)
            )
        return tuple(objects)


def _boxes(ids: NDArray[np.int32]) -> dict[int, tuple[int, int, int, int]]:
    """Track id -> tight xyxy."""
    rows, cols = np.nonzero(ids)
    found, which = np.unique(ids[rows, cols], return_inverse=True)
    low = np.full((len(found), 2), np.iinfo(np.int32).max)
    high = np.full((len(found), 2), -1)
    for k, axis in enumerate((cols, rows)):
        np.minimum.at(low[:, k], which, axis)
        np.maximum.at(high[:, k], which, axis)
    return {
        int(i): (int(x0), int(y0), int(x1) + 1, int(y1) + 1)
        for i, (x0, y0), (x1, y1) in zip(found, low, high, strict=True)
    }
