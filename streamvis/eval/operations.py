"""Operations, counted: what a contender costs on any machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch.utils.flop_counter import FlopCounterMode

from streamvis.errors import WeightsError
from streamvis.eval.config import EvalConfig
from streamvis.eval.rounds import Round
from streamvis.eval.stepper import Stepper
from streamvis.types import TileState


class Operations(BaseModel):
    """What a contender computes, 10^9 operations: matrix products and convolutions; a
    multiplication with its addition is 2."""

    model_config = ConfigDict(frozen=True)

    frame: float  # for every frame: a user's ONNX model
    news: float  # for every frame of which anything changed: what is always dense
    tile: float  # for every tile that is encoded

    def per_frame(self, tiles: NDArray[np.uint8]) -> float:
        """Mean of frames whose tiles were served like this, [F, rows, cols] of TileState."""
        num_news, num_tiles = _count(tiles)
        return self.frame + (self.news * num_news + self.tile * num_tiles) / len(tiles)


def count_operations(stepper: Stepper, rounds: Sequence[Round]) -> Operations:
    """Counted in these rounds, by least squares. Untimed; leaves the stepper reset."""
    served, gflops = [], []
    for r in rounds:
        with FlopCounterMode(display=False) as counter:
            step = stepper.step([timed.frame for timed in r.frames])
        served.append(_count(np.stack([packet.plan.states() for packet in step.packets])))
        gflops.append(counter.get_total_flops() / 1e9)
    stepper.reset()
    # Dense rounds are all alike: of the many solutions lstsq takes the shortest, which is as good.
    (news, tile), *_ = np.linalg.lstsq(np.array(served, float), np.array(gflops), rcond=None)
    return Operations(frame=_onnx_gflops(stepper.config), news=float(news), tile=float(tile))


def _count(tiles: NDArray[np.uint8]) -> tuple[int, int]:
    """Frames that had news, and tiles that were encoded, in [F, rows, cols] of TileState."""
    is_encoded = tiles == TileState.ENCODED
    return int(is_encoded.any(axis=(1, 2)).sum()), int(is_encoded.sum())


def _onnx_gflops(config: EvalConfig) -> float:
    return 0.0 if config.detector.onnx is None else onnx_flops(config.detector.onnx) / 1e9


def onnx_flops(path: Path) -> int:
    """Operations of one run of a model of fixed shapes: Conv, Gemm and MatMul; a multiplication
    with its addition is 2. Raises WeightsError when the shapes cannot be told."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    graph = model.graph
    shapes = {t.name: list(t.dims) for t in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = [d.dim_value for d in value.type.tensor_type.shape.dim]
    nodes = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    counts = [2 * _macs(node, shapes) for node in nodes]
    if not all(counts):
        raise WeightsError(f"{path}: its shapes are not fixed; export it with a fixed input size")
    return sum(counts)


def _macs(node: Any, shapes: dict[str, list[int]]) -> int:
    """Multiplications of one node: its output's elements times what each of them sums over."""
    left, right = (shapes.get(name, [0]) for name in node.input[:2])
    out = int(np.prod(shapes.get(node.output[0], [0])))
    if node.op_type == "Conv":  # weights are [M, C / group, kernel...]
        return out * int(np.prod(right[1:]))
    is_transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return out * left[0 if is_transposed else -1]
