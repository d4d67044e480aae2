"""What stands in one town: streets, houses, trees, lamps, signals, signs, parked vehicles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.light import Lamp
from streamvis.source.synth.model import building, furniture, greenery
from streamvis.source.synth.model.mesh import (
    Bar,
    Colour,
    Kind,
    Mesh,
    Surface,
    bars,
    build,
    floor,
    merge,
    quads,
)
from streamvis.source.synth.model.vehicle import random_car
from streamvis.source.synth.paint.layers import LAYER, SIGNS
from streamvis.source.synth.render.things import Thing, placement
from streamvis.source.synth.world.actors import Body, Car, standing
from streamvis.source.synth.world.layout import (
    CROSS_LENGTH_M,
    CYCLE_M,
    HOUSE_Y,
    KERB_Y,
    KERB_Z,
    LANE_M,
    PARKING_Y,
    STOP_M,
    ZEBRA_FROM_M,
    ZEBRA_TO_M,
    Plan,
)

PAVING = Surface((0.95, 0.95, 0.95), LAYER["paving"], kind=Kind.PAVING)
KERB = Surface((0.46, 0.45, 0.43), LAYER["concrete"])
NUM_TREES = 5
MARK_Z = 0.006


def tarmac(tone: float = 1.0) -> Surface:
    return Surface((tone, tone, tone), LAYER["asphalt"], kind=Kind.ROAD)


def paint(colour: Colour = (0.66, 0.66, 0.63)) -> Surface:
    return Surface(colour, LAYER["asphalt"], kind=Kind.MARK)


@dataclass(frozen=True)
class Signal:
    """A head whose lamp follows the town's signals."""

    track_id: int
    movement: str
    matrix: NDArray[np.float64]
    centre: tuple[float, float, float]


@dataclass(frozen=True)
class Town:
    things: tuple[Thing, ...]  # that never change
    fixtures: tuple[Body, ...]  # labelled ones among them
    parked: tuple[Car, ...]
    signals: tuple[Signal, ...]
    lamps: tuple[Lamp, ...]


def along(cells: list[tuple[float, float, float]], x0: float, x1: float, z: float = 0.0) -> Mesh:
    """Tarmac strips along x: (y from, y to, tone) each, smooth across."""
    parts = []
    for y0, y1, tone in cells:
        parts.append(floor(x0, x1, y0, y1, z, tarmac(tone)))
    return merge(parts)


def _section() -> list[tuple[float, float, float]]:
    """The carriageway's wear across: dark oil and polished tracks, a dusty gutter."""
    edges = np.linspace(-KERB_Y, KERB_Y, 41)
    middle = (edges[1:] + edges[:-1]) / 2
    lane = np.abs(np.abs(middle) - LANE_M / 2)
    tone = (
        1.0 - 0.16 * np.exp(-(((lane - 0.78) / 0.26) ** 2)) - 0.08 * np.exp(-((lane / 0.22) ** 2))
    )
    gutter = KERB_Y - np.abs(middle)
    tone += 0.10 * np.exp(-gutter / 0.5) - 0.10 * (gutter < 0.3)
    return [
        (float(a), float(b), float(t)) for a, b, t in zip(edges[:-1], edges[1:], tone, strict=True)
    ]


class TownBuilder:
    """Lays out one town; each method adds one kind of thing."""

    def __init__(
        self, rng: np.random.Generator, plan: Plan, ids: Iterator[int], lamps_on: bool
    ) -> None:
        self.rng, self.plan, self.ids = rng, plan, ids
        self.ground: list[Mesh] = []
        self.solid: list[Thing] = []
        self.fixtures: list[Body] = []
        self.parked: list[Car] = []
        self.signals: list[Signal] = []
        self.lamps: list[Lamp] = []
        self.trees = [greenery.tree(rng) for _ in range(NUM_TREES)]
        self.lamp_post = furniture.street_lamp(lamps_on)
        self.small = {
            f.__name__: f()
            for f in (
                furniture.bin_,
                furniture.bollard,
                furniture.hydrant,
                furniture.bench,
                furniture.box_cabinet,
                furniture.shelter,
            )
        }
        self.plates = {kind: furniture.sign_plate(kind) for kind in SIGNS}
        self.posts = {h: furniture.pole(h) for h in (2.9, 3.4, 6.4)}

    def build(self) -> Town:
        low, high = self.plan.low, self.plan.high
        earth = floor(
            low - 500,
            high + 500,
            -700,
            700,
            -0.05,
            Surface((0.16, 0.17, 0.13), LAYER["grass"]),
            6.0,
        )
        self.ground.append(earth)
        for x0, x1 in self.plan.blocks:
            self.street(x0, x1, 0.0, 0.0, 0.0)
            self.block_sides(x0, x1)
        for x in self.plan.junctions:
            self.junction(x)
            for yaw in (np.pi / 2, -np.pi / 2):
                self.street(HOUSE_Y, CROSS_LENGTH_M, x, 0.0, yaw)
                self.cross_sides(x, yaw)
        self.closing(low - 16, 1)
        self.closing(high + 16, -1)
        ground = replace(merge(self.ground), casts=False)
        things = (Thing(ground, placement(0, 0)), *self.solid)
        return Town(
            things, tuple(self.fixtures), tuple(self.parked), tuple(self.signals), tuple(self.lamps)
        )

    def street(self, x0: float, x1: float, ox: float, oy: float, yaw: float) -> None:
        """Ground and furniture between x0 and x1 of an own frame at (ox, oy, yaw)."""
        parts = [along(_section(), x0 - (HOUSE_Y - KERB_Y), x1 + (HOUSE_Y - KERB_Y), 0.0)]
        a, b = x0 + STOP_M - HOUSE_Y, x1 - STOP_M + HOUSE_Y
        parts += self._marks(a, b)
        for side in (-1, 1):
            low, high = sorted((side * (KERB_Y + 0.18), side * HOUSE_Y))
            parts.append(floor(x0, x1, low, high, KERB_Z, PAVING))
            parts.append(_kerb_line([(x0, side * KERB_Y), (x1, side * KERB_Y)], side))
        self.ground.append(merge(parts).placed(ox, oy, yaw))
        for side in (-1, 1):
            self.furniture(x0, x1, side, ox, oy, yaw)
            self.parking(x0, x1, side, ox, oy, yaw)

    def _marks(self, a: float, b: float) -> list[Mesh]:
        rng, parts = self.rng, []
        for x in np.arange(a + 1.0, b - 3.2, 6.4):
            parts.append(floor(x, x + 3.0, -0.06, 0.06, MARK_Z, paint()))
        for side in (-1, 1):
            y = side * LANE_M
            parts.append(floor(a, b, y - 0.06, y + 0.06, MARK_Z, paint()))
            y = side * (LANE_M + CYCLE_M)
            for x in np.arange(a + 4, b - 9, 5.6):
                parts.append(
                    floor(x, x + 0.10, y, y + side * 2.0, MARK_Z, paint())
                    if side > 0
                    else floor(x, x + 0.10, y - 2.0, y, MARK_Z, paint())
                )
            parts.append(floor(a + 4, b - 4, y - 0.05, y + 0.05, MARK_Z, paint()))
            lane = side * (LANE_M + CYCLE_M / 2)
            for x in np.arange(a + 8, b - 4, 28.0):
                parts.append(_cycle_mark(x, lane, side))
        for x in np.arange(a + 10, b - 10, 34.0):
            parts.append(_arrow(x, -LANE_M / 2, 1))
            parts.append(_arrow(x + 8, LANE_M / 2, -1))
        for end, inward in ((a, 1), (b, -1)):
            y0, y1 = (0.12, LANE_M - 0.1) if inward > 0 else (-LANE_M + 0.1, -0.12)
            x0, x1 = sorted((end, end + inward * 0.4))
            parts.append(floor(x0, x1, y0, y1, MARK_Z, paint()))
        for _ in range(int((b - a) / 9)):  # repairs
            x, y = rng.uniform(a, b - 4), rng.uniform(-KERB_Y, KERB_Y - 1.6)
            tone = rng.uniform(0.70, 0.90)
            parts.append(
                floor(
                    x, x + rng.uniform(0.8, 4.0), y, y + rng.uniform(0.5, 1.5), 0.003, tarmac(tone)
                )
            )
        parts += [_crack(rng, a, b) for _ in range(int((b - a) / 7))]
        for x in np.arange(a + rng.uniform(2, 10), b, 21.0):
            y = float(rng.choice([-0.9, 1.1, -2.4]))
            parts.append(_lid(float(x), y))
        return parts

    def junction(self, x: float) -> None:
        parts = [along([(-KERB_Y, KERB_Y, 0.97)], -KERB_Y, KERB_Y)]
        parts += [_crack(self.rng, -KERB_Y, KERB_Y) for _ in range(7)]
        for quarter in range(4):
            parts.append(_corner().placed(0, 0, quarter * np.pi / 2))
            parts.append(_zebra().placed(0, 0, quarter * np.pi / 2))
        self.ground.append(merge(parts).placed(x, 0))
        reach = STOP_M + 0.4
        for movement, yaw, ax, ay in (
            ("ahead", 0.0, -reach, -KERB_Y - 0.5), ("back", np.pi, reach, KERB_Y + 0.5),
            ("cross", np.pi / 2, KERB_Y + 0.5, -reach), ("cross", -np.pi / 2, -KERB_Y - 0.5, reach),
        ):  # fmt: skip
            self.signal(movement, x + ax, ay, yaw, 2.75)
            self.gantry(
                movement,
                x - ax if abs(ax) > abs(ay) else x + ax,
                ay if abs(ax) > abs(ay) else -ay,
                yaw,
            )
        for sx in (-1, 1):
            for sy in (-1, 1):
                for k in range(4):
                    a = 0.25 + 0.35 * k
                    bx, by = (
                        KERB_Y + 0.45 + 3.0 * (1 - np.sin(a)),
                        KERB_Y + 0.45 + 3.0 * (1 - np.cos(a)),
                    )
                    self.put(self.small["bollard"], x + sx * bx, sy * by, 0, KERB_Z)

    def signal(self, movement: str, x: float, y: float, yaw: float, z: float) -> None:
        if z < 4:
            self.put(self.posts[3.4], x, y, 0, KERB_Z)
        at = placement(x, y, yaw, z + KERB_Z) @ np.vstack([placement(-0.2, 0), (0, 0, 0, 1)])
        self.signals.append(
            Signal(next(self.ids), movement, at, (float(at[0, 3]), float(at[1, 3]), z + KERB_Z))
        )

    def gantry(self, movement: str, x: float, y: float, yaw: float) -> None:
        """A second head over the lane, on an arm beyond the junction."""
        arm = bars([
            Bar((0, 0, 0), (0, 0, 6.2), 0.09, 0.07, furniture.METAL),
            Bar((0, 0, 6.0), (0, 4.6, 6.15), 0.06, 0.045, furniture.METAL),
        ])  # fmt: skip
        self.put(arm, x, y, yaw, KERB_Z)
        away = placement(x, y, yaw) @ (0.0, 4.3, 0.0, 1.0)
        self.signal(movement, float(away[0]), float(away[1]), yaw, 5.45)

    def furniture(self, x0: float, x1: float, side: int, ox: float, oy: float, yaw: float) -> None:
        rng = self.rng
        place, facing = placement(ox, oy, yaw), yaw + (0.0 if side > 0 else np.pi)

        def put(mesh: Mesh, x: float, y: float, turn: float, size: float = 1.0) -> None:
            at = place @ (x, side * y, 0, 1)
            self.put(mesh, float(at[0]), float(at[1]), turn, KERB_Z, size)

        row = KERB_Y + 0.75
        slots = np.arange(x0 + 5, x1 - 3, rng.uniform(7.5, 9.5))
        for k, x in enumerate(slots):
            if k % 3 == 1:
                put(self.lamp_post, x, row - 0.25, facing)
                self._lamp(
                    place @ (x, side * (row - 0.25 - furniture.LAMP_ARM_M), furniture.LAMP_TOP_M, 1)
                )
            elif rng.random() < 0.8:
                put(
                    self.trees[rng.integers(NUM_TREES)],
                    x,
                    row + 0.1,
                    rng.uniform(0, 6.28),
                    rng.uniform(0.8, 1.1),
                )
            for name, chance, shift, deep in (
                ("bin_", 0.22, 2.0, 0),
                ("hydrant", 0.10, 3.0, 0),
                ("box_cabinet", 0.10, 3.4, 2.9),
                ("bench", 0.16, 3.8, 0.3),
            ):
                if rng.random() < chance:
                    put(
                        self.small[name],
                        x + shift,
                        row + deep,
                        facing + (np.pi if name == "bench" else 0),
                    )
        if x1 - x0 > 50 and rng.random() < 0.5:
            put(self.small["shelter"], x0 + rng.uniform(14, 30), HOUSE_Y - 1.6, facing)
        for x in slots[:-1] + np.diff(slots) / 2:
            if rng.random() < 0.34:
                self.sign(
                    str(rng.choice(SIGNS)),
                    place @ (x, side * (KERB_Y + 0.45), 0, 1),
                    yaw + (0.0 if side < 0 else np.pi),
                )

    def _lamp(self, at: NDArray[np.float64]) -> None:
        self.lamps.append(
            Lamp(
                (float(at[0]), float(at[1]), float(at[2]) + 0.2),
                26.0,
                (9.5, 7.2, 4.5),
                (0, 0, -1),
                0.05,
            )
        )

    def sign(self, kind: str, at: NDArray[np.float64], yaw: float) -> None:
        x, y = float(at[0]), float(at[1])
        self.put(self.posts[2.9], x, y, 0, KERB_Z)
        track_id, z = next(self.ids), KERB_Z + 2.55
        place = placement(x, y, yaw, z) @ np.vstack([placement(-0.06, 0), (0, 0, 0, 1)])
        self.solid.append(Thing(self.plates[kind], place, track_id))
        self.fixtures.append(Body(track_id, "traffic_sign", (x, y, z), (0, 0, 0), yaw, 0))

    def parking(self, x0: float, x1: float, side: int, ox: float, oy: float, yaw: float) -> None:
        rng, x, heading = self.rng, x0 + 9.5, yaw + (0.0 if side < 0 else np.pi)
        while True:
            vehicle = random_car(rng)
            x += vehicle.length + rng.uniform(0.6, 1.3)
            if x > x1 - 9.5:
                return
            if rng.random() < 0.85 * self.plan.density:
                at = placement(ox, oy, yaw) @ (
                    x - vehicle.length / 2,
                    side * PARKING_Y + rng.normal(0, 0.06),
                    0,
                    1,
                )
                self.park(vehicle, float(at[0]), float(at[1]), heading + rng.normal(0, 0.012))

    def park(self, vehicle: object, x: float, y: float, yaw: float) -> None:
        self.parked.append(Car(next(self.ids), vehicle, standing(x, y, yaw), is_parked=True))  # type: ignore[arg-type]

    def block_sides(self, x0: float, x1: float) -> None:
        for side in (-1, 1):
            spans = [(x0, x1)]
            a, b = self.plan.car_park
            if side > 0 and x0 < a and b < x1:
                spans = [(x0, a), (b, x1)]
                self.car_park(a, b)
            for p, q in spans:
                if q - p < 8:
                    continue
                start, turn = (p, 0.0) if side > 0 else (q, np.pi)
                row = building.terrace(self.rng, q - p)
                self.houses(row, start, side * HOUSE_Y, turn, KERB_Z)

    def cross_sides(self, x: float, yaw: float) -> None:
        """Houses along a cross street, behind the corner house."""
        for side in (-1, 1):
            first = HOUSE_Y + building.DEPTH_M
            row = building.terrace(self.rng, CROSS_LENGTH_M - first, open_ends=(False, False))
            along_x = first if side > 0 else CROSS_LENGTH_M
            at = placement(x, 0, yaw) @ (along_x, side * HOUSE_Y, 0, 1)
            self.houses(row, float(at[0]), float(at[1]), yaw + (0.0 if side > 0 else np.pi), KERB_Z)
        end = placement(x, 0, yaw) @ (CROSS_LENGTH_M + 6, 24, 0, 1)
        self.houses(
            building.terrace(self.rng, 48.0), float(end[0]), float(end[1]), yaw - np.pi / 2, 0
        )

    def car_park(self, a: float, b: float) -> None:
        """Two rows of bays behind the pavement."""
        near, far = HOUSE_Y + 0.2, HOUSE_Y + 17.0
        parts = [floor(a, b, HOUSE_Y - 0.02, far + 6, KERB_Z - 0.02, tarmac(1.15))]
        rng = self.rng
        for row, heading in ((near + 2.7, np.pi / 2), (far - 2.7, -np.pi / 2)):
            for x in np.arange(a + 1.5, b - 2.6, 2.6):
                parts.append(floor(x - 0.05, x + 0.05, row - 2.5, row + 2.5, KERB_Z, paint()))
                if rng.random() < 0.75 and not (abs(x - (a + b) / 2) < 4 and row < far - 6):
                    self.park(
                        random_car(rng),
                        x + 1.3,
                        row + rng.normal(0, 0.15),
                        heading + (np.pi if rng.random() < 0.4 else 0.0),
                    )
        self.ground.append(merge(parts))
        for x in (a + 0.5, (a + b) / 2 + 5):
            self.put(greenery.hedge(rng, (b - a) / 2 - 6), x, HOUSE_Y + 0.3, 0, KERB_Z)
        for x in (a + 6, b - 6):
            self.put(self.trees[0], x, far + 2, 0, 0)
        houses = building.terrace(self.rng, b - a, open_ends=(False, False))
        self.houses(houses, a, far + 6, 0, 0)

    def closing(self, x: float, towards: int) -> None:
        """The view ends at houses across."""
        row = building.terrace(self.rng, 150.0)
        self.houses(row, x, -75.0 * towards, towards * np.pi / 2, 0)
        edges = sorted((x, x + 16.0 * towards))
        self.ground.append(floor(edges[0], edges[1], -75, 75, 0.0, tarmac()))

    def houses(
        self, row: list[tuple[float, Mesh]], x: float, y: float, yaw: float, z: float
    ) -> None:
        for along_m, mesh in row:
            self.put(mesh, x + along_m * np.cos(yaw), y + along_m * np.sin(yaw), yaw, z)

    def put(self, mesh: Mesh, x: float, y: float, yaw: float, z: float, size: float = 1.0) -> None:
        self.solid.append(Thing(mesh, placement(x, y, yaw, z, size)))


def _kerb_line(points: list[tuple[float, float]], side: int) -> Mesh:
    """A kerb stone along points at the road's edge; `side` +1: the pavement lies to its left."""
    low = np.array(points, float)
    step = np.gradient(low, axis=0)
    out = np.stack([-step[:, 1], step[:, 0]], -1)
    out *= side * 0.2 / np.linalg.norm(out, axis=1, keepdims=True)
    foot, lip, back = (
        np.insert(p, 2, z, axis=1)
        for p, z in ((low, 0.0), (low + 0.06 * out, KERB_Z + 0.003), (low + out, KERB_Z + 0.003))
    )
    faces = [np.stack([p[:-1], p[1:], q[1:], q[:-1]], 1) for p, q in ((foot, lip), (lip, back))]
    length = np.append(0, np.cumsum(np.linalg.norm(np.diff(low, axis=0), axis=1)))
    uv = np.stack(
        [
            np.stack([length[:-1], length[1:], length[1:], length[:-1]], 1),
            np.tile((0, 0, 0.2, 0.2), (len(low) - 1, 1)),
        ],
        -1,
    )
    return quads(np.concatenate(faces), KERB, np.concatenate([uv, uv]))


def _corner(radius: float = 3.0) -> Mesh:
    """The pavement of the first quadrant's corner, rounded towards the junction."""
    angle = np.linspace(0, np.pi / 2, 10)
    middle = KERB_Y + radius
    arc = np.stack(
        [middle - radius * np.sin(angle), middle - radius * np.cos(angle)], -1
    )  # from (m, K) to (K, m)
    rim = [(HOUSE_Y, KERB_Y), *map(tuple, arc), (KERB_Y, HOUSE_Y)]
    fan = np.array([(HOUSE_Y, HOUSE_Y), *rim])
    k = np.arange(1, len(fan) - 1)
    position = np.insert(fan, 2, KERB_Z, axis=1)
    faces = np.stack([np.zeros_like(k), k + 1, k], -1)
    top = build(position, np.tile((0.0, 0.0, 1.0), (len(fan), 1)), faces, PAVING)
    under = floor(KERB_Y, HOUSE_Y, KERB_Y, HOUSE_Y, 0.0, tarmac(0.98))
    return merge([under, top, _kerb_line(rim, -1)])


def _zebra() -> Mesh:
    """Bars across the arm towards +x."""
    edges = np.arange(-KERB_Y + 0.35, KERB_Y - 0.5, 1.0)
    return merge([floor(ZEBRA_FROM_M, ZEBRA_TO_M, y, y + 0.5, MARK_Z, paint()) for y in edges])


def _arrow(x: float, y: float, towards: int) -> Mesh:
    shaft = floor(-1.6, 0.5, -0.08, 0.08, MARK_Z, paint())
    head = quads(
        [[(0.5, -0.32, MARK_Z), (1.7, 0.0, MARK_Z), (1.7, 0.0, MARK_Z), (0.5, 0.32, MARK_Z)]],
        paint(),
        normal=np.tile((0, 0, 1.0), (1, 4, 1)),
    )
    return merge([shaft, head]).placed(x, y, 0.0 if towards > 0 else np.pi)


def _crack(rng: np.random.Generator, a: float, b: float) -> Mesh:
    """A sealed crack that wanders over the road."""
    count = int(rng.integers(8, 22))
    turn = rng.choice([0.0, np.pi / 2]) + np.cumsum(rng.normal(0, 0.35, count))
    step = 0.35 * np.stack([np.cos(turn), np.sin(turn)], -1)
    start = np.array([rng.uniform(a, b), rng.uniform(-KERB_Y, KERB_Y)])
    line = start + np.cumsum(step, 0)
    line = np.clip(line, (a, -KERB_Y + 0.3), (b, KERB_Y - 0.3))
    out = np.stack([-np.sin(turn), np.cos(turn)], -1) * rng.uniform(0.012, 0.035, (count, 1))
    left, right = (np.insert(p, 2, 0.004, axis=1) for p in (line + out, line - out))
    corners = np.stack([right[:-1], right[1:], left[1:], left[:-1]], 1)
    return quads(corners, tarmac(0.5), normal=np.tile((0, 0, 1.0), (count - 1, 4, 1)))


def _lid(x: float, y: float, radius: float = 0.34) -> Mesh:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rim = np.concatenate([[(0, 0)], np.stack([np.cos(angle), np.sin(angle)], -1)])
    k = np.arange(24)
    faces = np.stack([0 * k, 1 + k, 1 + (k + 1) % 24], -1)
    position = np.insert(radius * rim + (x, y), 2, 0.007, axis=1)
    surface = Surface((0.8, 0.8, 0.8), LAYER["manhole"])
    return build(position, np.tile((0.0, 0.0, 1.0), (25, 1)), faces, surface, 0.5 + 0.48 * rim)


def _cycle_mark(x: float, y: float, side: int) -> Mesh:
    """A wide arrow head on the cycle lane."""
    parts = []
    for k in (0.0, 0.8):
        for s in (-1, 1):
            corners = [
                (k, s * 0.5, MARK_Z),
                (k + 0.25, s * 0.5, MARK_Z),
                (k + 0.85, 0, MARK_Z),
                (k + 0.6, 0, MARK_Z),
            ]
            parts.append(quads([corners], paint(), normal=np.tile((0, 0, 1.0), (1, 4, 1))))
    return merge(parts).placed(x, y, 0.0 if side < 0 else np.pi)
