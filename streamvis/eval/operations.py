"""Operations, counted: what a contender costs on any machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from torch.utils.flop_counter import FlopCounterMode

from streamvis.errors import WeightsError
from streamvis.eval.config import EvalConfig
from streamvis.eval.rounds import Round
from streamvis.eval.stepper import Stepper


def count_gflops(stepper: Stepper, rounds: Sequence[Round]) -> float:
    """Operations a frame, 10^9, of matrix products and convolutions; a multiplication with its
    addition is 2. Of all rounds but the first, where each camera begins with all of its tiles.
    Untimed; leaves the stepper reset."""
    counted = rounds[1:] or rounds
    if counted is not rounds:
        stepper.step([timed.frame for timed in rounds[0].frames])
    with FlopCounterMode(display=False) as counter:
        for r in counted:
            stepper.step([timed.frame for timed in r.frames])
    stepper.reset()
    num_frames = sum(len(r.frames) for r in counted)
    return float(counter.get_total_flops()) / num_frames / 1e9 + _onnx_gflops(stepper.config)


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
