from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import STREET
from onnx import TensorProto, helper, numpy_helper
from tiny_drive import tiny_config, write_tiny_yolox
from torch.utils.flop_counter import FlopCounterMode

from streamvis.errors import WeightsError
from streamvis.eval.operations import count_operations, onnx_flops
from streamvis.eval.rounds import Footage, Round, RoundReader
from streamvis.eval.stepper import Models, Stepper
from streamvis.types import Frame, TileState

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


@pytest.fixture(scope="module")
def rounds() -> list[Round]:
    return list(RoundReader(Footage(STREET, CAMERAS, max_frames=6), (320, 192)))


def stepper_of(**keys: object) -> Stepper:
    config = tiny_config(encoder={"input_size": (320, 192), "threads": 1}, **keys)
    return Stepper(config, CAMERAS, Models.load(config, 2))


def frames_of(r: Round) -> list[Frame]:
    return [timed.frame for timed in r.frames]


def states_of(stepper: Stepper, rounds: list[Round]) -> np.ndarray:
    steps = [stepper.step(frames_of(r)) for r in rounds]
    return np.stack([packet.plan.states() for step in steps for packet in step.packets])


def test_the_model_is_counted_and_leaves_no_state(rounds: list[Round]) -> None:
    stepper = stepper_of()
    counted = [count_operations(stepper, rounds[:n]) for n in (1, 2)]
    tiles = states_of(stepper, rounds[:2])
    stepper.reset()
    gflops = [one.per_frame(tiles) for one in counted]
    assert gflops[0] == pytest.approx(gflops[1])
    # docs/model.md: 1590.0 million multiplications at 640x384, in proportion to the pixels.
    assert gflops[0] == pytest.approx(2 * 1.5900 / 4, rel=0.03)
    assert stepper.step(frames_of(rounds[0])).packets[0].seq == 0


def test_what_reuse_computes_follows_from_its_tiles(rounds: list[Round]) -> None:
    """Frames in which nothing is encoded cost nothing, the others what is dense and their tiles."""
    stepper = stepper_of(tiling={"policy": "budget", "budget": 4, "threshold": 6})
    counted = count_operations(stepper, rounds[:4])
    assert counted.frame == 0
    assert counted.tile > 0
    tiles = states_of(stepper, rounds)
    with FlopCounterMode(display=False) as counter:
        stepper.reset()
        for r in rounds:
            stepper.step(frames_of(r))
    assert counted.per_frame(tiles) * len(tiles) == pytest.approx(counter.get_total_flops() / 1e9)
    dense = count_operations(stepper_of(), rounds[:1])
    whole = np.full_like(tiles[:1], TileState.ENCODED)
    assert counted.per_frame(whole) == pytest.approx(dense.per_frame(whole))
    assert counted.per_frame(np.full_like(tiles, TileState.REUSED)) == 0
