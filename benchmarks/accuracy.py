"""Average precision of a detector over every labelled frame of a drive.

    python benchmarks/accuracy.py [DRIVE] [--onnx MODEL.onnx] [--weights FILE.safetensors]

Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from streamvis.detect.config import DetectorConfig
from streamvis.detect.detector import Detector, build_detector
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Encoder, build_encoder
from streamvis.eval.ap import ApEvaluator
from streamvis.source.drive import Drive
from streamvis.source.video import VideoSource
from streamvis.types import Detections, Frame

DEFAULT_DRIVE = Path(__file__).parents[2] / "shared/data/drives/pandaset_002"
SCORE = 0.01  # low: average precision needs the whole curve


def main() -> None:
    args = parse_args()
    encoder = build_encoder(EncoderConfig(weights=args.weights, input_size=tuple(args.size)))
    detector = build_detector(DetectorConfig(onnx=args.onnx, score=SCORE), encoder)
    evaluator = ApEvaluator(args.drive / "labels.json")
    infer_s, num_frames = 0.0, 0
    for camera in evaluator.cameras:
        for frame in read_frames(Drive(args.drive), camera, encoder.input_size):
            if frame.index % args.every:
                continue
            started = time.perf_counter()
            detections = detect(frame, encoder, detector)
            infer_s += time.perf_counter() - started
            num_frames += 1
            evaluator.add(camera, frame.index, detections)
    report = {
        "drive": args.drive.name,
        "cameras": evaluator.cameras,
        "frames": num_frames,
        "model": detector.model.name,
        "weights_sha256": detector.model.weights_sha256[:12],
        "input_size": list(encoder.input_size),
        "dtype": str(encoder.dtype).removeprefix("torch."),
        "encode_detect_ms": round(infer_s / max(1, num_frames) * 1e3, 1),
        "ap": {name: ap.as_dict() for name, ap in evaluator.compute().items()},
    }
    print(json.dumps(report))


def detect(frame: Frame, encoder: Encoder, detector: Detector) -> Detections:
    images = torch.from_numpy(frame.image)[None]  # [1, H, W, 3]
    (found,) = detector.detect(images, encoder.encode_full(images))
    return found.with_boxes(frame.letterbox.to_source(found.xyxy))


def read_frames(drive: Drive, camera: str, input_size: tuple[int, int]) -> Iterator[Frame]:
    source = VideoSource(drive.video_path(camera), camera, input_size)
    while source.grab() is not None:
        frame = source.retrieve(time.monotonic_ns())
        if frame is not None:
            yield frame
    source.close()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("drive", type=Path, nargs="?", default=DEFAULT_DRIVE)
    parser.add_argument("--onnx", type=Path, help="judge this YOLOX model instead")
    parser.add_argument("--weights", type=Path, help="another weights file for sv_tiny")
    parser.add_argument("--every", type=int, default=1, help="judge each n-th frame")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 384), metavar=("W", "H"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
