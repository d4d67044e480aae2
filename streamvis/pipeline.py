"""The whole flow on one screen, in one process:

    source -> front (tiling) -> | tile packets | -> back (encode, detect, track) -> publish

The Ray runtime runs the same two classes, CameraFront and PerceptionBack, in actors of their
own, with ZeroMQ where the bars are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from streamvis.back import PerceptionBack, build_back
from streamvis.front import CameraFront, build_front
from streamvis.render.jpeg import encode_jpeg
from streamvis.topology import PipelineConfig
from streamvis.types import Feedback, Frame, FrameResult, Ledger, TilePacket, TilePlan


class Outlet(Protocol):
    """Where results go: publish.Publisher, or a list in a test."""

    def send(self, result: FrameResult) -> None: ...

    def send_image(self, camera: str, frame_index: int, jpeg: bytes) -> None: ...

    def send_plan(self, packet: TilePacket, batch: int) -> None: ...


class Pipeline:
    """Steps all cameras through every stage. Not thread-safe."""

    def __init__(
        self,
        config: PipelineConfig,
        cameras: Sequence[str],
        outlet: Outlet,
        epoch: str,
        recorded: Mapping[str, Mapping[int, TilePlan]] | None = None,
    ) -> None:
        """`recorded` are each camera's plans by frame index, to repeat instead of deciding."""
        self._config = config
        self._fronts = {
            camera: build_front(config.encoder, config.tiling, (recorded or {}).get(camera))
            for camera in cameras
        }
        self._back = build_back(
            config.encoder, config.detector, config.tracker, epoch, config.opt_in
        )
        self._back.warm_up(len(cameras))
        self._outlet = outlet
        self._opt_in = config.opt_in
        self._feedback = {camera: Feedback() for camera in cameras}

    def step(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """One round: at most one frame per camera."""
        packets = [self._fronts[f.camera].step(f, self._feedback[f.camera]) for f in frames]
        results, feedback = self._back.step(packets)
        self._feedback |= feedback
        publish(packets, results, self._back, self._outlet, self._opt_in)
        return results

    def add(self, camera: str, before: Ledger) -> None:
        """One camera more; `before` is where the frames of its earlier lives went."""
        config = self._config
        self._fronts[camera] = build_front(config.encoder, config.tiling, before=before)
        self._feedback[camera] = Feedback()

    def remove(self, camera: str) -> None:
        """Forget all of it."""
        del self._fronts[camera], self._feedback[camera]
        self._back.forget(camera)

    def has(self, camera: str) -> bool:
        return camera in self._fronts

    def front(self, camera: str) -> CameraFront:
        return self._fronts[camera]


def publish(
    packets: Sequence[TilePacket],
    results: Sequence[FrameResult],
    back: PerceptionBack,
    outlet: Outlet,
    opt_in: Collection[str],
) -> None:
    """Send the results of one batch out, its plans and pictures only if somebody wants them."""
    for packet in packets if "plan" in opt_in else ():
        outlet.send_plan(packet, back.batch)
    for result in results:
        outlet.send(result)
    for result in results if "img" in opt_in else ():
        jpeg = encode_jpeg(back.picture(result.camera))
        outlet.send_image(result.camera, result.frame_index, jpeg)
