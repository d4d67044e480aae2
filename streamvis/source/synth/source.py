"""`synth://` as a camera: renders each frame when it is asked for."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np

from streamvis.errors import SourceError
from streamvis.source import framecode
from streamvis.source.base import LetterBoxer, OnUnit
from streamvis.source.config import SourceConfig
from streamvis.source.synth.render.gpu import context
from streamvis.source.synth.scene import SceneConfig, StreetScene
from streamvis.source.synth.uri import parse_synth_uri
from streamvis.types import CameraInfo, CaptureTime, Frame


class SynthSource:
    """One camera of a rendered street. Slower than real time: for tests and for trying things
    out; `streamvis synth` writes the same scene as a drive."""

    on_unit: OnUnit | None = None  # rendered, not coded: there are no units
    lost_source = 0
    lost_decode = 0

    live = None

    def __init__(self, camera: str, config: SourceConfig, input_size: tuple[int, int]) -> None:
        scene = _scene_config(camera, config)
        context()  # say now, not at the first frame, that OpenGL is missing
        self._camera = camera
        (self._recorded,) = scene.cameras
        self._scene = StreetScene(scene)
        self._boxer = LetterBoxer(input_size)
        self._next = 0
        self._count = min(config.max_frames or scene.num_frames, scene.num_frames)
        self.info = CameraInfo(scene.width, scene.height, scene.fps, "synth", self._count)

    def grab(self) -> int | None:
        if self._next >= self._count:
            return None
        return round(self._next * 1e9 / self.info.fps)

    def retrieve(self, t_ingest_ns: int) -> Frame:
        index, self._next = self._next, self._next + 1
        rendered = self._scene.render(self._recorded, index)
        image = rendered.image
        framecode.write(image, index, self._scene.config.camera_number(self._recorded))
        letterbox = self._boxer.box(self.info.width, self.info.height)
        scaled = cv2.resize(image, letterbox.content_size, interpolation=cv2.INTER_AREA)
        return Frame(
            camera=self._camera,
            index=index,
            image=self._boxer.place(np.asarray(scaled, np.uint8)),
            letterbox=letterbox,
            pts=index,
            time_base=Fraction(1, round(self.info.fps)),
            capture=CaptureTime(rendered.capture_ns, "device", 0),
            t_ingest_ns=t_ingest_ns,
            t_decoded_ns=time.monotonic_ns(),
        )

    def close(self) -> None:
        pass


def _scene_config(camera: str, config: SourceConfig) -> SceneConfig:
    """The scene of the URI, seen by the camera that the pipeline file names."""
    try:
        scene = parse_synth_uri(config.uri)
        if "camera=" not in config.uri:
            scene = replace(scene, cameras=(config.camera or camera,))
    except ValueError as error:
        raise SourceError(str(error), "not_found") from None
    return scene
