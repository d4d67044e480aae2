"""The mosaic film: a subscriber like any other, on a thread of its own."""

from __future__ import annotations

import threading

from streamvis.client import DetMessage, ImgMessage, PlanMessage, Subscriber
from streamvis.errors import OutputError
from streamvis.render.mosaic_video import MosaicVideo
from streamvis.topology import PipelineConfig

_PATIENCE_S = 60.0
_OF_CAMERAS = (ImgMessage, DetMessage, PlanMessage)


class Film:
    """Draws what the pipeline publishes until it says that it stopped.

    A film that cannot be written stops itself and nothing else: `error` says why.
    """

    def __init__(self, config: PipelineConfig, address: str) -> None:
        """Raises OutputError at once if the file cannot be made."""
        assert config.mosaic is not None, "no mosaic is wanted"
        self._cameras = frozenset(config.sources)
        self._is_live = config.clock == "live"
        self._video = MosaicVideo(
            config.mosaic.path,
            list(config.sources),
            min_score=config.tracker.high_score,  # weaker ones are shown once they are tracked
            fps=config.mosaic.fps,
            shows_tiles=config.reuses_tiles,
        )
        kinds = ("det", "img", "plan") if config.reuses_tiles else ("det", "img")
        self._subscriber = Subscriber(address, kinds=kinds)
        self._thread = threading.Thread(target=self._run, name="film", daemon=True)
        self._first_ns: dict[str, int] = {}  # time of each camera's first frame
        self.num_frames = 0
        self.error: OutputError | None = None

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait until the film is finished: after the proxy said that it stopped."""
        self._thread.join(_PATIENCE_S)
        if self._thread.is_alive():
            self.error = OutputError(f"the film was not finished within {_PATIENCE_S:.0f} s")

    def _run(self) -> None:
        try:
            with self._subscriber as messages:
                for message in messages:
                    self._see(message)
            self.num_frames = self._video.close()
        except Exception as error:  # whatever it is, the film must not look finished
            self.error = OutputError(f"the film was given up: {error}")
            self._video.discard()

    def _see(self, message: object) -> None:
        if isinstance(message, _OF_CAMERAS) and message.camera not in self._cameras:
            return  # added since the film began: its places are taken
        if isinstance(message, ImgMessage):
            self._video.see_image(message.camera, message.frame_index, message.jpeg)
        elif isinstance(message, PlanMessage):
            self._video.see_plan(message.camera, message.frame_index, message.plan)
        elif isinstance(message, DetMessage):
            self._video.see_detections(
                message.camera,
                message.frame_index,
                message.detections,
                message.source_size,
                self._time_ns(message),
                age_ms=message.age_ms() if self._is_live else None,
            )

    def _time_ns(self, message: DetMessage) -> int:
        """One time axis for cameras whose clocks need not agree: live when the frame came in, in
        a replay since the camera's own first frame."""
        if self._is_live:
            return message.stamps_ns["ingest"]
        media_ns = round(message.pts * message.time_base * 1_000_000_000)
        t_ns = media_ns if message.capture.source == "none" else message.capture.t_ns
        return t_ns - self._first_ns.setdefault(message.camera, t_ns)
