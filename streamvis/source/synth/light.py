"""Sun, sky, weather and lamps of one scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.model.mesh import Floats
from streamvis.source.synth.paint.noise import value_noise

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Lamp:
    """A light of the street or of a vehicle."""

    at: Triple  # world, m
    reach_m: float
    colour: Triple  # linear
    axis: Triple = (0.0, 0.0, -1.0)  # where its cone points
    cone_cosine: float = -1.5  # of half its opening; below -1 = all around


@dataclass(frozen=True)
class Weather:
    """One kind of hour, from which `Light.random` draws one."""

    elevation_deg: tuple[float, float]
    clear: tuple[float, float]  # 0 overcast, 1 not a cloud
    sun: float  # strength when clear
    sky: float
    warm: float  # how red the sun is
    haze_m: tuple[float, float]
    exposure: float = 1.0
    lit_rooms: float = 0.0  # share of windows
    lamps_on: bool = False
    wet: float = 0.0
    rain: float = 0.0
    grain: float = 1.0
    glare: float = 0.0
    zenith: Triple = (0.10, 0.26, 0.66)
    horizon: Triple = (0.62, 0.74, 0.90)


WEATHERS: dict[str, Weather] = {
    "day": Weather((34, 56), (0.65, 1.0), 3.4, 0.95, 0.6, (700, 1400), 0.92),
    "overcast": Weather((45, 60), (0.0, 0.1), 0.0, 1.35, 0.4, (350, 700), 0.92),
    "low_sun": Weather(
        (10, 15),
        (0.7, 0.95),
        4.2,
        0.55,
        1.9,
        (380, 700),
        0.85,
        0.05,
        glare=0.10,
        zenith=(0.12, 0.24, 0.52),
        horizon=(0.98, 0.72, 0.48),
    ),
    "dusk": Weather(
        (-4, -2),
        (0.4, 0.8),
        0.0,
        0.34,
        3.0,
        (350, 700),
        1.9,
        0.40,
        True,
        grain=1.5,
        glare=0.10,
        zenith=(0.045, 0.085, 0.24),
        horizon=(0.62, 0.34, 0.26),
    ),
    "night": Weather(
        (-40, -30),
        (0.3, 0.9),
        0.0,
        0.05,
        1.0,
        (500, 900),
        3.2,
        0.30,
        True,
        grain=2.4,
        glare=0.16,
        zenith=(0.006, 0.009, 0.022),
        horizon=(0.035, 0.030, 0.036),
    ),
    "rain": Weather(
        (40, 50),
        (0.0, 0.05),
        0.0,
        0.85,
        0.4,
        (130, 260),
        1.25,
        0.22,
        True,
        1.0,
        1.0,
        1.4,
        0.10,
        (0.40, 0.43, 0.47),
        (0.60, 0.63, 0.67),
    ),
}


@dataclass(frozen=True)
class Light:
    """Linear light; 1.0 is about a white card under an open sky."""

    name: str  # of its Weather
    to_sun: NDArray[np.float64]  # [3] unit
    sun: Triple
    sky: Triple  # ambient from above
    ground: Triple  # ambient from below
    haze: Triple
    haze_m: float  # distance at which 63 % is haze
    panorama: Floats  # [256, 1024, 3] sky colours: elevation 90 to 0 degrees by azimuth
    sky_gain: float
    exposure: float
    lit_rooms: float
    lamps_on: bool
    wet: float
    rain: float
    grain: float
    glare: float

    @staticmethod
    def random(rng: np.random.Generator, name: str) -> Light:
        weather = WEATHERS[name]
        elevation = np.radians(rng.uniform(*weather.elevation_deg))
        # A low sun shines along the street and a high one across it, as photographers like it.
        bearing = rng.uniform(4, 13) if name == "low_sun" else rng.uniform(35, 150)
        azimuth = rng.choice([-1, 1]) * np.radians(bearing)
        level = np.cos(elevation)
        to_sun = np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])
        clear = rng.uniform(*weather.clear)
        warm = np.array([1.0, 0.90, 0.74]) ** weather.warm
        cool = np.array([0.66, 0.80, 1.0]) ** (0.35 + 0.65 * clear)
        is_sunny = clear > 0.2
        sun = weather.sun * (clear if is_sunny else 0.0) * warm
        sky = weather.sky * (1.25 - 0.45 * clear) * cool
        if name == "dusk":
            sky = sky * np.array([1.12, 0.92, 1.0])
        haze = np.array(weather.horizon) * weather.sky * (1.05 if weather.sun else 0.75)
        panorama = _panorama(rng, weather, to_sun, clear)
        return Light(
            name,
            to_sun,
            _triple(sun),
            _triple(sky),
            _triple(0.16 * (sky + 0.55 * sun)),
            _triple(np.minimum(haze, 1.2)),
            float(rng.uniform(*weather.haze_m)),
            panorama,
            1.0,
            weather.exposure,
            weather.lit_rooms,
            weather.lamps_on,
            weather.wet,
            weather.rain,
            weather.grain,
            weather.glare,
        )


def _triple(values: NDArray[np.floating]) -> Triple:
    red, green, blue = (float(v) for v in values)
    return red, green, blue


def _panorama(
    rng: np.random.Generator, weather: Weather, to_sun: NDArray[np.float64], clear: float
) -> Floats:
    height, width = 384, 1536
    rise = (1 - (np.arange(height) + 0.5) / height)[:, None] * (np.pi / 2)
    turn = (np.arange(width) + 0.5)[None] / width * 2 * np.pi
    direction = np.stack(
        np.broadcast_arrays(np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn), np.sin(rise)),
        -1,
    )
    towards = (direction @ to_sun)[..., None]
    zenith, horizon = np.array(weather.zenith), np.array(weather.horizon)
    blend = (np.sin(rise) ** 0.55)[..., None]
    warmth = 1.0 if weather.warm < 2 else np.clip(0.55 + 0.45 * towards, 0.15, 1)
    sky = (horizon * warmth + (1 - warmth) * zenith * 1.6) * (1 - blend) + zenith * blend
    sky = sky + horizon * 0.28 * np.clip(towards, 0, 1) ** 6 * (1.0 if clear > 0.2 else 0.2)
    cover, thick = _clouds(rng, rise, turn, clear)
    bright = 0.55 * zenith.mean() + 0.75 * horizon.mean()
    lit = np.array([1.0, 0.985, 0.97]) * bright * (1.18 - 0.62 * thick[..., None])
    if weather.warm > 2:
        lit = lit * (0.75 * horizon / horizon.max() + 0.35)
    lit = lit * (1 + 0.5 * np.clip(towards, 0, 1) ** 4)
    mixed = sky * (1 - cover[..., None]) + cover[..., None] * lit
    if weather.sun and clear > 0.2:
        warm = np.array([1.0, 0.90, 0.74]) ** weather.warm
        glow = 0.5 * np.clip(towards, 0, 1) ** 40 + 14.0 * (towards > 0.9996)
        mixed = mixed + glow * warm * (1 - 0.85 * cover[..., None])
    return np.asarray(mixed, np.float32)


def _clouds(
    rng: np.random.Generator, rise: NDArray[np.float64], turn: NDArray[np.float64], clear: float
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """(how much of the sky they hide, how thick they are); a flat ceiling shrinks afar."""
    far = 1 / np.maximum(np.sin(rise), 0.05)
    size = 1024
    shape = value_noise(rng, size, size, 7, 7)

    def at(shift: float) -> NDArray[np.floating]:
        column = (far * np.cos(turn) * 52 + shift) % size
        row = (far * np.sin(turn) * 52 + shift) % size
        return np.asarray(shape[row.astype(int), column.astype(int)])

    density = at(0.0) + 0.62 - 1.02 * clear
    cover = np.clip(density * 2.2, 0, 1) ** 0.8
    thick = np.clip(0.55 * np.clip(density, 0, 1) + 0.45 * np.clip(at(9.0) + 0.4, 0, 1), 0, 1)
    low = np.clip(np.sin(rise) / 0.10, 0, 1)
    return cover * (0.35 + 0.65 * low), thick
