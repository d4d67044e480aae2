"""Groups of things under one light -> pictures, track ids and depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.camera import Camera
from streamvis.source.synth.light import Lamp, Light
from streamvis.source.synth.model.mesh import Kind
from streamvis.source.synth.render.gpu import (
    MeshStore,
    Program,
    Quad,
    context,
    program,
    set_uniforms,
)
from streamvis.source.synth.render.things import OWNER, Group

NEAR_M, FAR_M = 0.2, 3000.0
SKY_M = 10_000.0  # depth of a pixel that shows nothing
REACH_M = 46.0  # half the side of the fine shadow map
FAR_REACH_M = 220.0
SHADOW_PX, SKY_SHADOW_PX = 2048, 768
SHADOW_CELL_M, FAR_CELL_M = 8.0, 60.0  # still shadows are thrown once for each such square
MAX_LAMPS = 28
_FAMILIES = {  # variants of geometry.frag
    "FRONT": (Kind.PLAIN, Kind.WINDOW),
    "VEHICLE": (Kind.VEHICLE,),
    "GROUND": (Kind.ROAD, Kind.MARK, Kind.PAVING),
    "LEAVES": (Kind.CUTOUT,),
}


@dataclass(frozen=True)
class Film:
    """What the camera does with light."""

    samples: int = 4  # a pixel and frame: smooth edges, soft shadows, motion blur
    shutter_s: float = 0.008
    exposure: float = 1.0
    glare: float = 0.05
    vignette: float = 0.16
    grain: float = 0.006
    fringe: float = 0.0
    saturation: float = 1.12
    balance: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Shot:
    """One moment seen by one camera."""

    camera: Camera
    drift: NDArray[np.float64]  # [3] m/s of the camera
    spin: float  # rad/s of the camera about z
    groups: Sequence[Group]  # all that may be seen or throw a shadow
    lamps: Sequence[Lamp]
    seed: int  # of the grain


@dataclass(frozen=True)
class Picture:
    image: NDArray[np.uint8]  # [H, W, 3] sRGB
    ids: NDArray[np.int32]  # [H, W] track id; 0 is scenery or sky
    depth: NDArray[np.float32]  # [H, W] m along the optical axis; SKY_M is sky
    whole_px: dict[int, int] = field(default_factory=dict)  # track id -> pixels if nothing hid it


class Renderer:
    """Draws one scene: its textures, its still things and its light stay on the GPU."""

    def __init__(
        self,
        textures: NDArray[np.uint8],
        light: Light,
        still: Sequence[Group],
        size: tuple[int, int],
    ) -> None:
        """`textures` is [layers, side, side, 4] sRGB; `size` is width and height in px."""
        gl = context()
        self._light, self._still, self._size = light, list(still), size
        self._looks = [
            Program(program("geometry.vert", "geometry.frag", name), kinds)
            for name, kinds in _FAMILIES.items()
        ]
        self._depth = Program(program("depth.vert", "nothing.frag"))
        self._depth_cut = Program(program("depth.vert", "depth.frag"))
        self._outline = Program(program("silhouette.vert", "nothing.frag"))
        self._store = MeshStore()
        self._lighting, self._film = Quad("light.frag"), Quad("film.frag")
        self._textures = _texture_array(textures)
        self._sky = _sky_texture(light)
        self._near, self._far = _ShadowMap(SHADOW_PX), _ShadowMap(SHADOW_PX)
        self._above = _ShadowMap(SKY_SHADOW_PX)
        self._albedo, self._normal = gl.texture(size, 4), gl.texture(size, 4, dtype="f2")
        self._ids = gl.texture(size, 2, dtype="f4")
        for texture in (self._albedo, self._normal, self._ids):
            texture.filter = gl.NEAREST, gl.NEAREST
            texture.repeat_x = texture.repeat_y = False
        self._seen = gl.framebuffer([self._albedo, self._normal, self._ids], gl.depth_texture(size))
        self._sum = gl.texture(size, 4, dtype="f2")
        self._sum.repeat_x = self._sum.repeat_y = False
        self._summed = gl.framebuffer([self._sum])
        self._developed = gl.framebuffer([gl.texture(size, 3)])

    def render(self, shot: Shot, film: Film) -> Picture:
        gl = context()
        eye = shot.camera.position
        groups = [p for g in (*self._still, *shot.groups) for p in g.by_distance(eye)]
        self._shadows(shot)
        self._summed.use()
        gl.clear(0, 0, 0, 0)
        ids = depth = None
        for k in range(film.samples):
            sample = _Sample.of(shot, film, k)
            self._draw(sample, groups)
            if ids is None:
                owner, depth = self._read_ids()
                ids = np.floor(owner + 1e-3).astype(np.int32)
            self._add_light(sample, shot)
        assert ids is not None
        assert depth is not None
        image = self._develop(shot, film)
        whole = self._whole_px(shot.camera, groups, np.unique(ids[ids > 0]))
        self._store.forget(g.mesh for g in shot.groups if g.mesh.is_fleeting)
        return Picture(image, ids, depth, whole)

    def _draw(self, sample: _Sample, groups: Sequence[Group]) -> None:
        gl = context()
        self._seen.use()
        gl.enable_only(gl.DEPTH_TEST)
        self._seen.clear(0, 0, 0, 0)
        self._ids_background()
        shown = [g[sample.camera.may_see(g.centre, g.radius)] for g in groups]
        shown = _near_first([g for g in shown if len(g.rows)], sample.camera.position)
        place = {"world_to_clip": sample.world_to_clip, "shutter_s": sample.shutter_s}
        eye, forward = tuple(sample.camera.position), tuple(sample.camera.rotation[:, 2])
        look = {"eye": eye, "forward": forward, "wet": self._light.wet}
        look["lit_rooms"] = self._light.lit_rooms
        for found in self._looks:
            set_uniforms(found.code, {"textures": 0, **place, **look})
            self._store.draw(found, shown)

    def _draw_depth(self, groups: Sequence[Group], uniforms: dict[str, Any]) -> None:
        """Depth alone; only what has holes needs its texture."""
        self._textures.use(0)
        for target, has_holes in ((self._depth, False), (self._depth_cut, True)):
            set_uniforms(target.code, {"textures": 0, **uniforms})
            self._store.draw(target, (g for g in groups if g.mesh.has_holes == has_holes))

    def _ids_background(self) -> None:
        """Sky where nothing is drawn: id 0 at SKY_M."""
        self._sky_only = getattr(self, "_sky_only", None) or context().framebuffer([self._ids])
        self._sky_only.use()
        self._sky_only.clear(0.0, SKY_M, 0.0, 0.0)
        self._seen.use()

    def _read_ids(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        width, height = self._size
        both = np.frombuffer(self._ids.read(), np.float32).reshape(height, width, 2)[::-1]
        return both[..., 0].copy(), both[..., 1].copy()

    def _add_light(self, sample: _Sample, shot: Shot) -> None:
        gl, light = context(), self._light
        self._summed.use()
        gl.enable_only(gl.BLEND)
        gl.blend_func = gl.ONE, gl.ONE
        right, up, forward = sample.axes
        lamps = sorted(shot.lamps, key=lambda lamp: _away(lamp, sample.camera))[:MAX_LAMPS]
        self._lighting.draw(
            {
                "albedo_map": self._albedo, "normal_map": self._normal, "ids_map": self._ids,
                "sky_map": self._sky, "near_shadow": self._near.texture,
                "far_shadow": self._far.texture, "sky_shadow": self._above.texture,
            },
            {
                "world_to_near": self._near.matrix, "world_to_far": self._far.matrix,
                "world_to_above": self._above.matrix, "world_to_clip": sample.world_to_clip,
                "eye": tuple(sample.camera.position), "right": tuple(right), "up": tuple(up),
                "forward": tuple(forward), "jitter": sample.jitter,
                "size_px": (float(self._size[0]), float(self._size[1])), "turn": sample.turn,
                "to_sun": tuple(light.to_sun), "sun": light.sun, "sky_light": light.sky,
                "ground_light": light.ground, "haze": light.haze, "haze_m": light.haze_m,
                "wet": light.wet, "sky_gain": light.sky_gain, "reach_m": REACH_M,
                "far_texel_m": 2 * FAR_REACH_M / SHADOW_PX, **_lamp_uniforms(lamps),
            },
        )  # fmt: skip

    def _develop(self, shot: Shot, film: Film) -> NDArray[np.uint8]:
        gl = context()
        self._sum.build_mipmaps()
        self._sum.filter = gl.LINEAR_MIPMAP_LINEAR, gl.LINEAR
        self._developed.use()
        gl.enable_only(gl.NOTHING)
        seed = np.random.default_rng(shot.seed).random(2) * 50
        self._film.draw(
            {"light_map": self._sum},
            {
                "num_samples": float(film.samples),
                "exposure": film.exposure * self._light.exposure,
                "glare": film.glare + self._light.glare, "vignette": film.vignette,
                "grain": film.grain * self._light.grain, "rain": self._light.rain,
                "fringe": film.fringe, "saturation": film.saturation, "balance": film.balance,
                "seed": tuple(seed), "lens": shot.camera.lens,
                "half_view": shot.camera.half_view, "half_drawn": shot.camera.half_drawn,
            },
        )  # fmt: skip
        width, height = self._size
        data = np.frombuffer(self._developed.read(components=3, alignment=1), np.uint8)
        return data.reshape(height, width, 3)[::-1].copy()

    def _shadows(self, shot: Shot) -> None:
        """Still things throw theirs anew only when the camera has left its square or turned."""
        camera, up = shot.camera, np.array([0.0, 0.0, 1.0])
        eye = _snapped(camera.position, SHADOW_CELL_M)
        at = eye + _snapped(camera.rotation[:, 2] * (0.5 * REACH_M), SHADOW_CELL_M)
        moving = [p for g in shot.groups for p in g.by_distance(camera.position)]
        self._cast(self._above, moving, _Aim(up, at, eye, REACH_M, 60.0))
        if self._light.sun[1] <= 0.02:
            return
        self._cast(self._near, moving, _Aim(self._light.to_sun, at, eye, REACH_M, 130.0))
        far = _snapped(at, FAR_CELL_M)
        self._cast(self._far, (), _Aim(self._light.to_sun, far, far, FAR_REACH_M, 300.0))

    def _cast(self, shadow: _ShadowMap, moving: Sequence[Group], aim: _Aim) -> None:
        context().enable_only(context().DEPTH_TEST)
        if shadow.aim(aim):
            still = [p for g in self._still for p in g.by_distance(aim.eye)]
            shadow.still.clear(depth=1.0)
            self._throw(shadow, shadow.still, still)
        context().copy_framebuffer(shadow.all, shadow.still)
        self._throw(shadow, shadow.all, moving)

    def _throw(self, shadow: _ShadowMap, frame: Any, groups: Sequence[Group]) -> None:
        frame.use()
        held = [g[shadow.may_hold(g)] for g in groups if g.mesh.casts]
        self._draw_depth(held, {"world_to_clip": shadow.matrix})

    def _whole_px(
        self, camera: Camera, groups: Sequence[Group], wanted: NDArray[np.int32]
    ) -> dict[int, int]:
        """How many pixels each object would cover if nothing stood before it."""
        gl = context()
        self._seen.use()
        self._seen.clear(depth=1.0)
        gl.enable_only(gl.DEPTH_TEST)
        gl.depth_func = "<"
        matrix = camera.world_to_clip(NEAR_M, FAR_M)
        set_uniforms(self._outline.code, {"world_to_clip": matrix})
        queries: dict[int, Any] = {}
        parts = _by_owner(groups, set(wanted.tolist()))
        for number, (owner, pieces) in enumerate(parts.items()):
            depth = 1.0 - 1.9 * (number + 1) / (len(parts) + 1)
            set_uniforms(self._outline.code, {"layer_depth": depth})
            query = gl.query(samples=True)
            with query:
                self._store.draw(self._outline, pieces)
            queries[owner] = query
        return {owner: int(query.samples) for owner, query in queries.items()}


def _by_owner(groups: Sequence[Group], wanted: set[int]) -> dict[int, list[Group]]:
    parts: dict[int, list[Group]] = {}
    for found in groups:
        owner = found.rows[:, OWNER].astype(int)
        for k in np.flatnonzero(owner > 0):
            if owner[k] in wanted:
                keep = np.zeros(len(owner), bool)
                keep[k] = True
                parts.setdefault(int(owner[k]), []).append(found[keep])
    return parts


@dataclass(frozen=True)
class _Sample:
    """One of the sharp pictures that a frame is the mean of."""

    camera: Camera
    jitter: tuple[float, float]  # in half screens
    shutter_s: float
    turn: float
    world_to_clip: NDArray[np.float64]
    axes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

    @staticmethod
    def of(shot: Shot, film: Film, k: int) -> _Sample:
        """Number 0 is the frame's very middle, where the labels are taken."""
        # Additive recurrence of the plastic number: evenly spread for any count (Roberts 2018).
        px, py, pt = ((0.5 + k * a) % 1 - 0.5 for a in (0.7548777, 0.5698403, 0.6180340))
        after_s = pt * film.shutter_s
        camera = shot.camera.moved(shot.drift * after_s, shot.spin * after_s)
        jitter = 2 * px / camera.width, 2 * py / camera.height
        matrix = camera.world_to_clip(NEAR_M, FAR_M)
        shift = np.eye(4)
        shift[0, 3], shift[1, 3] = jitter
        x, y = camera.half_drawn
        right, down, forward = camera.rotation.T
        return _Sample(
            camera,
            jitter,
            after_s,
            k * 0.6180340 % 1,
            shift @ matrix,
            (right * x, -down * y, forward),
        )


@dataclass(frozen=True)
class _Aim:
    """What square a shadow map covers, seen from where."""

    towards: NDArray[np.float64]  # [3] unit, to the light
    centre: NDArray[np.float64]  # [3] world
    eye: NDArray[np.float64]  # [3] things far from it are drawn coarser
    reach_m: float  # half the square's side
    depth_m: float

    def key(self) -> tuple[float, ...]:
        return (*self.towards, *self.centre, *self.eye, self.reach_m, self.depth_m)

    def matrix(self, side_px: int) -> NDArray[np.float64]:
        """[4, 4] world -> clip."""
        up = np.array([0.0, 1.0, 0.0] if abs(self.towards[2]) > 0.99 else [0.0, 0.0, 1.0])
        right = np.cross(up, self.towards)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(self.towards, right), -self.towards])  # world -> map
        middle = axes @ self.centre
        texel = 2 * self.reach_m / side_px
        middle[:2] = np.round(middle[:2] / texel) * texel  # or shadows' edges would crawl
        scale = np.array([1 / self.reach_m, 1 / self.reach_m, 1 / self.depth_m])
        matrix = np.eye(4)
        matrix[:3, :3] = axes * scale[:, None]
        matrix[:3, 3] = -middle * scale
        return matrix


class _ShadowMap:
    """Depth along a direction over a square; beside it, that of the still things alone."""

    def __init__(self, side_px: int) -> None:
        gl, size = context(), (side_px, side_px)
        self.texture = gl.depth_texture(size)
        self.texture.compare_func = "<="
        self.texture.filter = gl.LINEAR, gl.LINEAR
        self.texture.repeat_x = self.texture.repeat_y = False
        # copy_framebuffer copies once for each colour, so a depth without one is not copied.
        self.all = gl.framebuffer([gl.texture(size, 1)], self.texture)
        self.still = gl.framebuffer([gl.texture(size, 1)], gl.depth_texture(size))
        for frame in (self.all, self.still):
            frame.color_mask = False, False, False, False
        self.matrix = np.eye(4)
        self._side_px = side_px
        self._aimed: tuple[float, ...] | None = None

    def aim(self, aim: _Aim) -> bool:
        """Whether it shows another square than before."""
        if aim.key() == self._aimed:
            return False
        self._aimed, self._margin = aim.key(), 1 / aim.reach_m
        self.matrix = aim.matrix(self._side_px)
        return True

    def may_hold(self, found: Group) -> NDArray[np.bool_]:
        at = found.centre @ self.matrix[:2, :3].T + self.matrix[:2, 3]
        return np.asarray((np.abs(at) < 1 + found.radius[:, None] * self._margin).all(1))


def _snapped(at: NDArray[np.float64], cell_m: float) -> NDArray[np.float64]:
    """The middle of the square of the ground that it is in."""
    return np.array([*(np.round(at[:2] / cell_m) * cell_m), 0.0])


def _near_first(groups: Sequence[Group], eye: NDArray[np.float64]) -> list[Group]:
    """What is hidden is then not painted first."""

    def gap(found: Group) -> float:
        return float((np.linalg.norm(found.centre - eye, axis=1) - found.radius).min())

    return sorted(groups, key=gap)


def _away(lamp: Lamp, camera: Camera) -> float:
    return float(np.linalg.norm(np.asarray(lamp.at) - camera.position) - 0.9 * lamp.reach_m)


def _lamp_uniforms(lamps: Sequence[Lamp]) -> dict[str, Any]:
    at, colour = np.zeros((MAX_LAMPS, 4)), np.zeros((MAX_LAMPS, 4))
    axis = np.tile((0.0, 0.0, -1.0), (MAX_LAMPS, 1))
    for k, lamp in enumerate(lamps):
        at[k], colour[k] = (*lamp.at, lamp.reach_m), (*lamp.colour, lamp.cone_cosine)
        axis[k] = lamp.axis
    return {"num_lamps": len(lamps), "lamp_at": at, "lamp_colour": colour, "lamp_axis": axis}


def _texture_array(textures: NDArray[np.uint8]) -> Any:
    gl = context()
    layers, height, width, _ = textures.shape
    array = gl.texture_array((width, height, layers), 4, np.ascontiguousarray(textures).tobytes())
    array.build_mipmaps()
    array.filter = gl.LINEAR_MIPMAP_LINEAR, gl.LINEAR
    return array


def _sky_texture(light: Light) -> Any:
    gl = context()
    height, width = light.panorama.shape[:2]
    sky = gl.texture((width, height), 3, light.panorama.astype(np.float16).tobytes(), dtype="f2")
    sky.build_mipmaps()
    sky.filter = gl.LINEAR_MIPMAP_LINEAR, gl.LINEAR
    sky.repeat_y = False
    return sky
