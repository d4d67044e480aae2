"""COCO labels of a rendered drive, in the form that recorded drives use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamvis.source.synth.scene import RenderedFrame, RenderedObject
from streamvis.types import CLASSES

IGNORE_BELOW = 1 / 45  # of the picture's height: 16 px at 720
IGNORE_HIDDEN = 0.5
# What nobody could mark is not written down: a few pixels, or a glimpse.
OMIT_BELOW = IGNORE_BELOW * 2 / 3
OMIT_HIDDEN = 0.9


class CocoLabels:
    """Collects frames; `coco` is what labels.json holds."""

    def __init__(self, scene: Mapping[str, Any] | None = None) -> None:
        """`scene` says what all frames share: time of day, weather, street."""
        self._scene = dict(scene or {})
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, frame: RenderedFrame, **more: Any) -> None:
        """`more` goes into the picture's own entry."""
        height, width = frame.ids.shape
        self._images.append(
            {
                "id": len(self._images) + 1,
                "camera": frame.camera,
                "frame_index": frame.index,
                "capture_ns": frame.capture_ns,
                "width": width,
                "height": height,
                **more,
            }
        )
        for found in frame.objects:
            is_tiny = found.xyxy[3] - found.xyxy[1] < OMIT_BELOW * height
            if not is_tiny and found.visible_fraction > 1 - OMIT_HIDDEN:
                self._annotations.append(self._annotation(found, height))

    def _annotation(self, found: RenderedObject, image_height: int) -> dict[str, Any]:
        x0, y0, x1, y1 = found.xyxy
        ignore = found.visible_fraction < IGNORE_HIDDEN or y1 - y0 < IGNORE_BELOW * image_height
        return {
            "id": len(self._annotations) + 1,
            "image_id": len(self._images),
            "category_id": CLASSES.index(found.category) + 1,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0),
            "iscrowd": int(ignore),
            "track_id": found.track_id,
            "visible_fraction": round(found.visible_fraction, 3),
            "occlusion": round(1 - found.visible_fraction, 3),
            "depth_m": round(found.depth_m, 2),
        }

    def coco(self) -> dict[str, Any]:
        categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
        return {
            "scene": self._scene,
            "categories": categories,
            "images": self._images,
            "annotations": self._annotations,
        }
