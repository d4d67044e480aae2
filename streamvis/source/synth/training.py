"""Single pictures for training: every few of them another town, hour, weather, lens and pose."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from streamvis.errors import OutputError
from streamvis.source.synth.camera import SITES, Mount
from streamvis.source.synth.labels import CocoLabels
from streamvis.source.synth.light import WEATHERS
from streamvis.source.synth.render.renderer import Film
from streamvis.source.synth.scene import RenderedFrame, SceneConfig, StreetScene

PER_SCENE = 12  # a town takes as long as half a dozen pictures
SCENE_S = 12
_SITE_SHARE = {"drive": 0.7, "corner": 0.12, "gantry": 0.09, "car_park": 0.09}
_WEATHER_SHARE = {
    "day": 0.34,
    "overcast": 0.2,
    "low_sun": 0.12,
    "dusk": 0.12,
    "night": 0.1,
    "rain": 0.12,
}


def write_pictures(
    folder: Path, num_frames: int, seed: int, size: tuple[int, int],
    progress: Callable[[int, int], None] | None = None,
) -> None:  # fmt: skip
    """`folder`/images/*.jpg and annotations.json in COCO form; OutputError if it exists."""
    try:
        (folder / "images").mkdir(parents=True)
    except FileExistsError:
        raise OutputError(f"{folder} exists already; choose another folder") from None
    except OSError as error:
        raise OutputError(f"cannot write in {folder.parent}: {error.strerror}") from error
    labels = CocoLabels()
    for number, (frame, scene) in enumerate(_pictures(num_frames, seed, size)):
        name = f"images/{number:06d}.jpg"
        if not cv2.imwrite(
            str(folder / name), frame.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92]
        ):
            raise OutputError(f"cannot write {folder / name}")
        labels.add(frame, file_name=name, scene=scene.attributes())
        if progress is not None:
            progress(number + 1, num_frames)
    (folder / "annotations.json").write_text(json.dumps(labels.coco()) + "\n")


def _pictures(
    num_frames: int, seed: int, size: tuple[int, int]
) -> Iterator[tuple[RenderedFrame, StreetScene]]:
    done = 0
    while done < num_frames:
        rng = np.random.default_rng([seed, done])
        scene = StreetScene(random_config(rng, size))
        for _ in range(min(PER_SCENE, num_frames - done)):
            camera = str(rng.choice(scene.config.cameras))
            yield scene.render(camera, int(rng.integers(scene.config.num_frames))), scene
            done += 1


def random_config(rng: np.random.Generator, size: tuple[int, int]) -> SceneConfig:
    site = str(rng.choice(list(_SITE_SHARE), p=list(_SITE_SHARE.values())))
    weather = str(rng.choice(list(WEATHERS), p=[_WEATHER_SHARE[w] for w in WEATHERS]))
    rig = {name: _shaken(rng, mount) for name, mount in SITES[site].items()}
    return SceneConfig(
        seed=int(rng.integers(1 << 31)), num_frames=4 * SCENE_S, fps=4, width=size[0],
        height=size[1], weather=weather, site=site, rig=rig, film=_film(rng),
    )  # fmt: skip


def _shaken(rng: np.random.Generator, mount: Mount) -> Mount:
    """Another pose and another lens."""
    x, y, z = mount.offset_m
    k1 = float(rng.uniform(-0.22, 0.03)) if rng.random() < 0.5 else 0.0
    return replace(
        mount,
        offset_m=(x + float(rng.normal(0, 0.3)), y, z * float(rng.uniform(0.75, 1.35))),
        yaw_deg=mount.yaw_deg + float(rng.normal(0, 14)),
        pitch_deg=mount.pitch_deg + float(rng.normal(0, 3.0)),
        hfov_deg=float(np.clip(mount.hfov_deg * rng.uniform(0.55, 1.25), 28, 105)),
        lens=(k1, 0.12 * k1 * k1),
    )


def _film(rng: np.random.Generator) -> Film:
    warm = float(rng.normal(0, 0.06))
    return Film(
        samples=2, shutter_s=float(rng.uniform(0.001, 0.02)),
        exposure=float(np.exp(rng.normal(0, 0.28))), glare=float(rng.uniform(0.0, 0.12)),
        vignette=float(rng.uniform(0, 0.4)), grain=float(rng.uniform(0.003, 0.035)),
        fringe=float(rng.choice([0.0, 0.0015])), saturation=float(rng.uniform(0.75, 1.35)),
        balance=(1 + warm, 1.0, 1 - warm),
    )  # fmt: skip
