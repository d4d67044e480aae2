"""JPEG and PNG pictures; ours are RGB, OpenCV's are BGR."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from streamvis.errors import WireError
from streamvis.render.output_file import write_file
from streamvis.render.picture import Picture


def encode_jpeg(rgb: Picture, quality: int = 85) -> bytes:
    return _encode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])


def decode_jpeg(data: bytes) -> Picture:
    """The picture in `data`; WireError if there is none."""
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if bgr is None:
        raise WireError(f"{len(data)} bytes that should be a JPEG picture are not one")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def write_png(path: Path, rgb: Picture) -> None:
    """A complete file under `path`, or OutputError."""
    write_file(path, _encode(".png", rgb, []))


def _encode(extension: str, rgb: Picture, parameters: list[int]) -> bytes:
    is_encoded, data = cv2.imencode(extension, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), parameters)
    assert is_encoded, f"OpenCV cannot encode {extension} {rgb.shape}"
    return data.tobytes()
