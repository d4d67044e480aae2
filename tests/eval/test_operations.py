from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import STREET
from onnx import TensorProto, helper, numpy_helper
from tiny_drive import tiny_config, write_tiny_yolox

from streamvis.errors import WeightsError
from streamvis.eval.operations import count_gflops, onnx_flops
from streamvis.eval.rounds import Footage, RoundReader
from streamvis.eval.stepper import Models, Stepper

CAMERAS = ("front", "left")


def test_a_convolution_of_a_graph_is_counted_by_hand(tmp_path: Path) -> None:
    # 4 x 32 x 32 outputs, each a sum over 3 channels of 3 x 3
    assert onnx_flops(write_tiny_yolox(tmp_path / "a.onnx")) == 2 * 4 * 32 * 32 * 3 * 9


def test_products_of_a_graph_are_counted_by_hand(tmp_path: Path) -> None:
    weights = [numpy_helper.from_array(np.zeros((5, 7), np.float32), "w")]
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["y"], transA=1),  # [3, 5] x [5, 7]
        helper.make_node("MatMul", ["x", "y"], ["z"]),  # [5, 3] x [3, 7]
    ]
    ports = [("x", [5, 3]), ("z", [5, 7])]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in ports]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], weights)
    onnx.save(helper.make_model(graph), str(tmp_path / "a.onnx"))
    assert onnx_flops(tmp_path / "a.onnx") == 2 * (3 * 7 * 5 + 5 * 7 * 3)


def test_a_graph_without_shapes_is_refused(tmp_path: Path) -> None:
    model = onnx.load(write_tiny_yolox(tmp_path / "a.onnx"))
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "side"
    onnx.save(model, str(tmp_path / "b.onnx"))
    with pytest.raises(WeightsError, match="its shapes are not fixed"):
        onnx_flops(tmp_path / "b.onnx")


def test_the_model_is_counted_a_frame_and_leaves_no_state() -> None:
    # The model card: 4.1 GMAC at 640x384, in proportion to the pixels.
    config = tiny_config(encoder={"input_size": (320, 192), "threads": 1})
    rounds = list(RoundReader(Footage(STREET, CAMERAS, max_frames=2), (320, 192)))
    stepper = Stepper(config, CAMERAS, Models.load(config, 2))
    gflops = [count_gflops(stepper, rounds[:n]) for n in (1, 2)]
    assert gflops[0] == pytest.approx(gflops[1])
    assert gflops[0] == pytest.approx(2 * 4.1 / 4, rel=0.03)
    assert stepper.step([t.frame for t in rounds[0].frames]).packets[0].seq == 0
