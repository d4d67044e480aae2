"""How fast the dense model is, and where its time goes: `latency` and `profile` of model.py."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from figures import EQUAL_PIXELS, YOLOX_SIZE, in_turns, pictures
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from streamvis.detect.config import DetectorConfig
from streamvis.detect.detector import HeadDetector, build_detector
from streamvis.detect.onnx_detector import OnnxDetector
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Features, build_encoder
from streamvis.encode.sv_tiny import to_patches
from streamvis.encode.sv_tiny_encoder import SvTinyEncoder

Call = Callable[[], Any]


def latency(weights: Path | None, onnx: Path, threads: int, turns: int) -> dict[str, Any]:
    """ms a picture, all stages of both detectors, in turns on the same cores."""
    torch.set_num_threads(threads)  # before the session: it takes as many
    runs = {
        "yolox_nano, 416x416": timed(yolox_call(onnx)),
        "sv_tiny, 448x384": timed(dense_call(weights, threads, 1)),
        "sv_tiny, 448x384, batch of 4": timed(dense_call(weights, threads, 4), 4),
    }
    torch.set_num_threads(threads)
    times = in_turns(runs, turns)
    peer = times["yolox_nano, 416x416"]
    return {
        name: {
            "median_ms": round(statistics.median(values), 2),
            "range_ms": [round(min(values), 2), round(max(values), 2)],
            "of_yolox": round(
                statistics.median(a / b for a, b in zip(values, peer, strict=True)), 2
            ),
        }
        for name, values in times.items()
    }


def dense_call(weights: Path | None, threads: int, batch: int) -> Call:
    """Encoder, head and post-processing of a batch."""
    encoder, detector = build(weights, threads, EQUAL_PIXELS)
    images = torch.from_numpy(pictures(EQUAL_PIXELS, batch))
    return lambda: detector.detect(images, encoder.encode_full(images))


def yolox_call(onnx: Path) -> Call:
    """The network in onnxruntime, its decoding and post-processing, as `streamvis run` does it."""
    detector = OnnxDetector(DetectorConfig(onnx=onnx))
    images = torch.from_numpy(pictures(YOLOX_SIZE, 1))
    nothing = Features({}, torch.zeros(1, 0))
    return lambda: detector.detect(images, nothing)


def build(
    weights: Path | None, threads: int, size: tuple[int, int]
) -> tuple[SvTinyEncoder, HeadDetector]:
    encoder = build_encoder(EncoderConfig(weights=weights, threads=threads, input_size=size))
    detector = build_detector(DetectorConfig(), encoder)
    assert isinstance(encoder, SvTinyEncoder)
    assert isinstance(detector, HeadDetector)
    return encoder, detector


def timed(call: Call, batch: int = 1) -> Callable[[], float]:
    """ms a picture, by `clock`."""

    def run() -> float:
        now = clock()
        began = now()
        call()
        return (now() - began) * 1e3 / batch

    return run


def clock() -> Callable[[], float]:
    """Of one thread the processor's time, which other programs disturb little; else the wall's."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def profile(weights: Path | None, threads: int, turns: int) -> dict[str, Any]:
    """Every part alone on the very input it gets in the dense model: ms and MMAC a picture."""
    encoder, detector = build(weights, threads, (640, 384))
    images = torch.from_numpy(pictures((640, 384), 1))
    with torch.inference_mode():
        calls: dict[str, Call] = {"cut into patches": lambda: to_patches(images, encoder.tile_px)}
        calls |= part_calls(encoder, images)
        features = encoder.encode_full(images)
        head, pyramid, context = detector._head, features.pyramid, features.context
        assert context is not None
        calls["head"] = lambda: head.rows(pyramid, context)
        calls["head and post-processing"] = lambda: detector.detect(images, features)
        calls["everything"] = lambda: detector.detect(images, encoder.encode_full(images))
        times = in_turns({name: timed(call) for name, call in calls.items()}, turns)
        return {
            name: {
                "ms": round(statistics.median(times[name]), 3),
                "mmac": round(macs(call) / 1e6, 1),
            }
            for name, call in calls.items()
        }


def part_calls(encoder: SvTinyEncoder, images: torch.Tensor) -> dict[str, Call]:
    """Each part with the input it was given in a dense run."""
    inputs: dict[str, tuple[Any, ...]] = {}
    hooks = [
        module.register_forward_hook(
            lambda _m, given, _out, name=name: inputs.update({name: given})
        )
        for name, module in parts(encoder)
    ]
    encoder.encode_full(images)
    for hook in hooks:
        hook.remove()
    modules = dict(parts(encoder))
    return {name: partial(modules[name], *given) for name, given in inputs.items()}


def parts(encoder: SvTinyEncoder) -> Iterator[tuple[str, nn.Module]]:
    network = encoder._network
    local, context = network.local, network.context
    yield "stem, patches of 4x4", network.stem
    yield "glance", network.glance
    for stride, stage in ((8, local.stage8), (16, local.stage16)):
        for number, block in enumerate(stage):
            yield f"stage {stride}, " + (f"residual {number}" if number else "down"), block
    yield "down to 32", local.down
    for stride, layer in ((8, local.from8), (16, local.from16), (32, local.from32)):
        yield f"pyramid {stride}, in", layer
    for level, tower in local.towers.items():
        yield f"pyramid {level}, tower", tower
    for number, mixer in enumerate(context.mixers, start=1):
        yield f"context, mixer {number}", mixer


def macs(call: Call) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops()) / 2
