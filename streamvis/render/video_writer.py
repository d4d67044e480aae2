"""H.264 files that any browser and player shows."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av.video.reformatter import Colorspace

from streamvis.render.output_file import PendingFile, output_error
from streamvis.render.picture import Picture

_OPTIONS = {
    "crf": "20",
    "preset": "superfast",
    # Players take an untagged HD picture for BT.709, so it is converted and tagged as such.
    "x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709",
}


class VideoWriter:
    """Writes pictures of one size to an MP4, which appears under its name on `close()`.

    After an OutputError (full disk, no permission) nothing is left behind.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: Fraction) -> None:
        """`size` is (width, height) px, both even: H.264 halves the chroma planes."""
        if size[0] % 2 or size[1] % 2:
            raise ValueError(f"size must be even, got {size = }")
        self._size = size
        self._file = PendingFile(path)
        try:
            self._container = av.open(str(self._file.part), "w", options={"movflags": "+faststart"})
            self._stream = self._container.add_stream("libx264", rate=fps, options=_OPTIONS)
        except (OSError, av.FFmpegError) as error:
            self._file.discard()
            raise output_error(path, error) from error
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        # One thread: the same bytes on every machine, and the cores stay with the pipeline.
        self._stream.codec_context.thread_count = 1
        self._is_open = True

    def write(self, rgb: Picture) -> None:
        """Append one picture [H, W, 3]."""
        if rgb.shape != (self._size[1], self._size[0], 3):
            raise ValueError(f"a picture must be of size {self._size}, got {rgb.shape = }")
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        self._mux(frame)

    def close(self) -> None:
        """Finish the file and give it its name; a second call does nothing."""
        if not self._is_open:
            return
        self._mux(None)
        self._is_open = False
        try:
            self._container.close()
        except (OSError, av.FFmpegError) as error:
            self._file.discard()
            raise output_error(self._file.path, error) from error
        self._file.commit()

    def discard(self) -> None:
        """Give the video up and leave nothing behind."""
        if not self._is_open:
            return
        self._is_open = False
        with suppress(OSError, av.FFmpegError):
            self._container.close()
        self._file.discard()

    def _mux(self, frame: av.VideoFrame | None) -> None:
        """Encode a picture, or with None what the encoder still holds."""
        try:
            self._container.mux(self._stream.encode(frame))
        except (OSError, av.FFmpegError) as error:
            self.discard()
            raise output_error(self._file.path, error) from error
