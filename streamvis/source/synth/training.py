"""Single pictures for training: each has its own pose and lens, every few another town."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from streamvis.source.synth.camera import Mount
from streamvis.source.synth.folder import whole_folder
from streamvis.source.synth.labels import CocoLabels
from streamvis.source.synth.light import WEATHERS
from streamvis.source.synth.render.renderer import Film
from streamvis.source.synth.scene import RenderedFrame, SceneConfig, StreetScene
from streamvis.types import CLASSES

PER_SCENE = 12  # a town takes as long as half a dozen pictures
SPARE = 12  # poses of a town for those that stand in a wall
SCENE_S = 12
SOURCE = "synth"  # what each picture names as its source
_SITE_SHARE = {"drive": 0.76, "corner": 0.08, "gantry": 0.08, "car_park": 0.08}
_WEATHER_SHARE = {
    "day": 0.34,
    "overcast": 0.2,
    "low_sun": 0.12,
    "dusk": 0.12,
    "night": 0.1,
    "rain": 0.12,
}
# Where cameras are on the moving rig: metres ahead, left and up.
_PLACES = (
    ((-20.0, 40.0), (-1.5, 5.0), (1.0, 2.3)),  # on a car
    ((-20.0, 40.0), (9.2, 12.2), (1.2, 1.9)),  # on the pavement
    ((-20.0, 40.0), (-8.0, 12.0), (2.5, 8.0)),  # on a pole
)
_PLACE_SHARE = (0.5, 0.12, 0.38)
ALONG_SHARE = 0.6  # look along the street rather than anywhere
NEAR_M = 1.2
NEAR_SHARE = 0.12


def write_pictures(
    folder: Path, num_frames: int, seed: int, size: tuple[int, int],
    progress: Callable[[int, int], None] | None = None, *, replace: bool = False,
) -> None:  # fmt: skip
    """`folder`/images/*.jpg and annotations.json in COCO form; all of it or, on error, nothing."""
    if num_frames < 1:
        raise ValueError(f"frames must be at least 1, got {num_frames}")
    labels = CocoLabels()
    with whole_folder(folder, replace) as work:
        (work / "images").mkdir()
        for number, (frame, scene) in enumerate(_pictures(num_frames, seed, size)):
            name = f"{number:06d}.jpg"
            _write_jpeg(work / "images" / name, frame)
            labels.add(
                frame, file_name=name, source=SOURCE, labelled=CLASSES, scene=scene.attributes()
            )
            if progress is not None:
                progress(number + 1, num_frames)
        (work / "annotations.json").write_text(json.dumps(labels.coco()) + "\n")


def _write_jpeg(path: Path, frame: RenderedFrame) -> None:
    _, coded = cv2.imencode(".jpg", frame.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    path.write_bytes(coded.tobytes())  # unlike imwrite, says why it cannot


def _pictures(
    num_frames: int, seed: int, size: tuple[int, int]
) -> Iterator[tuple[RenderedFrame, StreetScene]]:
    done, number = 0, 0
    while done < num_frames:
        rng = np.random.default_rng([seed, number])
        scene = StreetScene(random_config(rng, size))
        for frame in _from_one_town(scene, rng, min(PER_SCENE, num_frames - done)):
            yield frame, scene
            done += 1
        number += 1


def _from_one_town(
    scene: StreetScene, rng: np.random.Generator, wanted: int
) -> Iterator[RenderedFrame]:
    """Up to `wanted` pictures, each of another camera of the rig and another moment."""
    for camera in scene.config.cameras:
        if not wanted:
            return
        scene.config = dataclasses.replace(scene.config, film=_film(rng))
        frame = scene.render(camera, int(rng.integers(scene.config.num_frames)))
        if not _is_blocked(frame):
            yield frame
            wanted -= 1


def _is_blocked(frame: RenderedFrame) -> bool:
    """Whether the camera stands in or at something: nobody would have put it there."""
    return bool((frame.depth < NEAR_M).mean() > NEAR_SHARE)


def random_config(rng: np.random.Generator, size: tuple[int, int]) -> SceneConfig:
    """A town whose rig has one camera for each picture, and some to spare."""
    site = str(rng.choice(list(_SITE_SHARE), p=list(_SITE_SHARE.values())))
    weather = str(rng.choice(list(WEATHERS), p=[_WEATHER_SHARE[w] for w in WEATHERS]))
    rig = {str(k): _random_mount(rng, site) for k in range(PER_SCENE + SPARE)}
    return SceneConfig(
        seed=int(rng.integers(1 << 31)), num_frames=4 * SCENE_S, fps=4, width=size[0],
        height=size[1], weather=weather, site=site, rig=rig,
    )  # fmt: skip


def _random_mount(rng: np.random.Generator, site: str) -> Mount:
    if site == "drive":
        place = _PLACES[int(rng.choice(len(_PLACES), p=_PLACE_SHARE))]
        ahead, left, up = (float(rng.uniform(*span)) for span in place)
        along = float(rng.choice([0.0, 180.0])) + float(rng.normal(0, 25))
        yaw = along if rng.random() < ALONG_SHARE else float(rng.uniform(-180, 180))
    else:
        ahead, left = float(rng.uniform(-0.5, 6)), float(rng.uniform(-3, 3))
        up, yaw = float(rng.uniform(2.5, 8)), float(rng.normal(0, 25))
    hfov_deg = float(rng.uniform(28, 105))
    pitch = float(1.5 - 2.2 * up + rng.normal(0, 2 + 0.5 * up))  # the higher, the more down
    return Mount((ahead, left, up), yaw, pitch, hfov_deg, lens=_random_lens(rng, hfov_deg))


def _random_lens(rng: np.random.Generator, hfov_deg: float) -> tuple[float, float]:
    """Every second camera has one; the wider the view, the less its polynomial may bend."""
    if rng.random() < 0.5:
        return 0.0, 0.0
    edge = 1.3 * np.tan(np.radians(hfov_deg / 2))
    k1 = float(np.clip(rng.uniform(-0.1, 0.015) / edge**2, -0.3, 0.05))
    return k1, 0.12 * k1 * k1


def _film(rng: np.random.Generator) -> Film:
    warm = float(rng.normal(0, 0.06))
    return Film(
        samples=int(rng.integers(1, 3)), shutter_s=float(rng.uniform(0.001, 0.02)),
        exposure=float(np.exp(rng.normal(0, 0.28))), glare=float(rng.uniform(0.0, 0.12)),
        vignette=float(rng.uniform(0, 0.4)), grain=float(rng.uniform(0.003, 0.035)),
        fringe=float(rng.choice([0.0, 0.0015])), saturation=float(rng.uniform(0.75, 1.35)),
        balance=(1 + warm, 1.0, 1 - warm),
    )  # fmt: skip
