"""A drive that takes a second: two cameras of a synthetic street, and a small YOLOX to judge."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from conftest import write_clip
from onnx import TensorProto, helper, numpy_helper

from streamvis.eval.config import EvalConfig

SIZE = (320, 180)


def tiny_config(name: str = "tiny", **keys: object) -> EvalConfig:
    """sv_tiny on two by one tiles. One thread: a test must not wait for a busy second core."""
    encoder = {"input_size": (128, 64), "threads": 1}
    return EvalConfig.model_validate({"name": name, "encoder": encoder, **keys})


def tiny_peer(onnx: Path, **detector: object) -> EvalConfig:
    """A detector without an encoder."""
    encoder = {"name": "none", "threads": 1}
    keys = {"name": "peer", "encoder": encoder, "detector": {"onnx": onnx, **detector}}
    return EvalConfig.model_validate(keys)


def write_tiny_drive(folder: Path, num_frames: int = 50, cameras: str = "ab") -> Path:
    """Clips of a wandering square, which is labelled as a car."""
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for camera in cameras:
        write_clip(folder / f"{camera}.mp4", num_frames, SIZE)
        for i in range(num_frames):
            images.append(
                {"id": len(images), "camera": camera, "frame_index": i, "width": 320, "height": 180}
            )
            box = [10 * i % SIZE[0], 20, 40, 40]
            annotations.append(
                {"image_id": len(images) - 1, "category_id": 3, "bbox": box, "track_id": i // 32}
            )
    rig = {camera: {"file": f"{camera}.mp4", "width": 320, "height": 180} for camera in cameras}
    (folder / "rig.json").write_text(json.dumps(rig))
    categories = [{"id": 3, "name": "car"}]
    labels = {"categories": categories, "images": images, "annotations": annotations}
    (folder / "labels.json").write_text(json.dumps(labels))
    return folder


def write_tiny_yolox(path: Path) -> Path:
    """64x64 in, and the same car out whatever it sees; it still has to convolve."""
    out = np.full((1, 84, 85), -8.0, np.float32)
    out[..., 4:] = 0.0
    out[0, 0, :] = 0.0
    out[0, 0, [4, 5 + 2]] = 0.9  # objectness, car
    weight = numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.float32), "weight")
    nodes = [
        helper.make_node("Conv", ["images", "weight"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("ReduceMean", ["c"], ["m"], keepdims=0),
        helper.make_node("Add", ["m", "answer"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 84, 85])],
        [weight, numpy_helper.from_array(out, "answer")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return path
