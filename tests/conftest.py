"""What several tests share: frames, the committed drive, and the real data beside the clone."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamvis.types import CaptureTime, Frame, LetterBox

pytest_plugins = ["matrix"]

REPO = Path(__file__).resolve().parent.parent
STREET = REPO / "pipelines/drives/street"
SHARED = REPO.parent / "shared/data"
PANDASET = SHARED / "drives/pandaset_002"

needs_real_data = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the real drives are not on this machine (../shared/data)"
)


def make_frame(index: int, camera: str = "front", size: tuple[int, int] = (640, 384)) -> Frame:
    """A frame of noise that depends on its index only."""
    width, height = size
    image = np.random.default_rng(index).integers(0, 255, (height, width, 3), np.uint8)
    return Frame(
        camera=camera,
        index=index,
        image=image,
        letterbox=LetterBox(width, height, width, height),
        pts=index,
        time_base=Fraction(1, 10),
        capture=CaptureTime(1_700_000_000_000_000_000 + index * 100_000_000, "device", 0),
        t_ingest_ns=index,
        t_decoded_ns=index,
    )


def write_clip(
    path: Path, num_frames: int = 12, size: tuple[int, int] = (320, 180), fps: int = 10
) -> Path:
    """A real H.264 file: a bright square wanders over noise-free grey."""
    width, height = size
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.options = {"bf": "0", "g": "5", "preset": "ultrafast"}
        for i in range(num_frames):
            image = np.full((height, width, 3), 90, np.uint8)
            image[20:60, 10 * i % width : 10 * i % width + 40] = (250, 40, 40)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture(scope="session")
def untrained_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the default architecture with random weights, the same ones every time: for
    tests of how the model is run, which hold for any weights."""
    import torch
    from torch import nn

    from streamvis.encode.weights import save_bundle
    from streamvis.train.network import Network

    torch.manual_seed(0)
    network = Network()
    for module in network.modules():  # norms that do nothing would hide folding errors
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    nn.init.normal_(network.encoder.glance.score.weight)  # some tiles are worth more than others
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    save_bundle(path, {"encoder": network.encoder, "head": network.head}, network.arch, {})
    return path


@pytest.fixture(scope="session")
def weights_with_tokens(untrained_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, and a random tokenizer in it."""
    import torch

    from streamvis.encode.tokenizer import PART, Tokenizer
    from streamvis.encode.weights import add_part, load_bundle

    torch.manual_seed(0)
    bundle = load_bundle(untrained_weights)
    path = tmp_path_factory.mktemp("weights") / "tokens.safetensors"
    add_part(bundle, PART, Tokenizer(bundle.manifest.arch), {}, path)
    return path
