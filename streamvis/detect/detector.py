"""The seam every detector fills, the bundled one, and the choice among them."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from streamvis.detect.config import DetectorConfig
from streamvis.detect.head import Head
from streamvis.detect.late_head import LateHead
from streamvis.detect.postprocess import select
from streamvis.encode.encoder import Encoder, Features, TileFeatures
from streamvis.encode.feature_map import FeatureMap, split_rows
from streamvis.encode.sv_tiny_cache import SvTinyCache
from streamvis.encode.sv_tiny_encoder import (
    SvTinyEncoder,
    SvTinyLateEncoder,
    as_pictures,
    for_inference,
)
from streamvis.errors import WeightsError
from streamvis.types import Detections, ModelId


class Detector(Protocol):
    model: ModelId

    def detect(self, images: Tensor, features: Features) -> list[Detections]:
        """uint8 [B, H, W, 3] RGB and their features -> detections per picture, boxes in the
        pixels of `images`, best first."""


def build_detector(config: DetectorConfig, encoder: Encoder) -> Detector:
    """Raises WeightsError when the model is missing, damaged, or does not fit the encoder."""
    if config.onnx is not None:
        from streamvis.detect.onnx_detector import OnnxDetector

        return OnnxDetector(config)
    if isinstance(encoder, SvTinyLateEncoder):
        return LateHeadDetector(config, encoder)
    if not isinstance(encoder, SvTinyEncoder):
        raise WeightsError(
            f"the bundled head was trained on sv_tiny, not on {encoder.model.name}; "
            "give `detector: {onnx: PATH}`, or use the encoder sv_tiny"
        )
    return HeadDetector(config, encoder)


class HeadDetector:
    """The head of the encoder's own weights bundle, on the encoder's pyramid."""

    def __init__(self, config: DetectorConfig, encoder: SvTinyEncoder) -> None:
        bundle = encoder.bundle
        self.model = bundle.model
        self._config = config
        head = Head(bundle.manifest.arch.pyramid_channels, len(bundle.manifest.classes))
        bundle.load_into(head, "head")
        self._head = for_inference(head, encoder.device, encoder.dtype)

    @torch.inference_mode()
    def detect(self, images: Tensor, features: Features) -> list[Detections]:  # noqa: ARG002
        logits, xyxy = self._head(features.pyramid)
        return select(logits.sigmoid(), xyxy, self._config)


class LateHeadDetector:
    """The head of a bundle with late context: its towers see the tiles that were computed, what
    they said of the others lies in the cameras' caches."""

    def __init__(self, config: DetectorConfig, encoder: SvTinyLateEncoder) -> None:
        bundle = encoder.bundle
        self.model = bundle.model
        self._config = config
        head = LateHead(bundle.manifest.arch, len(bundle.manifest.classes))
        bundle.load_into(head, "head")
        self._head = for_inference(head, encoder.device, encoder.dtype)

    @torch.inference_mode()
    def detect(self, images: Tensor, features: Features) -> list[Detections]:  # noqa: ARG002
        logits, xyxy = self.look(features)
        return select(logits.sigmoid(), xyxy, self._config)

    @torch.inference_mode()
    def look(self, features: Features) -> tuple[Tensor, Tensor]:
        """Class logits [B, A, K] and boxes [B, A, 4] px of every cell."""
        tiles = features.tiles
        assert tiles is not None, "made by SvTinyLateEncoder"
        if not tiles.caches:
            whole: tuple[Tensor, Tensor] = self._head(tiles.pyramid, tiles.context, tiles.grid)
            return whole
        caches = [cache for cache in tiles.caches if isinstance(cache, SvTinyCache)]
        self._update(tiles, caches)
        hidden = {
            stride: as_pictures([cache.hidden[stride].values for cache in caches])
            for stride in caches[0].hidden
        }
        return self._head.finish(hidden, tiles.context)

    def _update(self, tiles: TileFeatures, caches: list[SvTinyCache]) -> None:
        """Bring what the towers said of each tile up to date."""
        counts = [len(index) for index in tiles.index]
        for stride, x in self._head.hidden(tiles.pyramid).items():
            new = x.permute(0, 2, 3, 1)  # [M, C, t, t] -> [M, t, t, C]
            for cache, index, own in zip(caches, tiles.index, split_rows(new, counts), strict=True):
                if stride not in cache.hidden:
                    cache.hidden[stride] = _new_map(tiles.grid, own)
                cache.hidden[stride].write(index, own)


def _new_map(grid: tuple[int, int, int], tiles: Tensor) -> FeatureMap:
    """For tiles [K, t, t, C]."""
    _, rows, cols = grid
    _, side, _, channels = tiles.shape
    return FeatureMap(rows, cols, side, channels, tiles.dtype, tiles.device)
