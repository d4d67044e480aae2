"""What the back adds to a result when embeddings beyond the frame's are wanted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_frame

from streamvis.back import PerceptionBack, build_back
from streamvis.detect.config import DetectorConfig
from streamvis.encode.config import EncoderConfig
from streamvis.encode.embedder import PART, Embedder
from streamvis.encode.weights import add_part, load_bundle
from streamvis.errors import WeightsError
from streamvis.front import build_front
from streamvis.tiling.config import TilingConfig
from streamvis.track.config import TrackerConfig
from streamvis.types import Feedback, FrameResult

SIZE = (128, 64)
SECOND_NS = 1_000_000_000


@pytest.fixture(scope="module")
def weights(untrained_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    bundle = load_bundle(untrained_weights)
    path = tmp_path_factory.mktemp("back") / "sv_tiny.safetensors"
    add_part(bundle, PART, Embedder(bundle.manifest.arch), {}, path)
    return path


def make_back(weights: Path, *wanted: str) -> PerceptionBack:
    encoder = EncoderConfig(weights=weights, input_size=SIZE, threads=1, device="cpu")
    detector = DetectorConfig(score=0.0, max_detections=5)
    return build_back(encoder, detector, TrackerConfig(), "e", wanted)


def run(back: PerceptionBack, count: int, discont: int = -1) -> list[FrameResult]:
    """Frames every 0.1 s."""
    front = build_front(EncoderConfig(input_size=SIZE), TilingConfig())
    results = []
    for i in range(count):
        packet = front.step(make_frame(i, size=SIZE), Feedback())
        assert packet is not None
        (result,), _ = back.step([replace(packet, is_discont=i == discont)])
        results.append(result)
    return results


def test_all_scopes_of_a_result_fit_together(weights):
    results = run(make_back(weights, "pyramid", "object", "clip"), 3)
    for result in results:
        more = result.more
        assert more.pyramid.shape == (3, 128)
        assert len(more.objects) == len(result.detections) == 5
        assert more.clip.shape == (128,)
    assert [r.more.clip_ns for r in results] == [
        (0, 1),
        (0, SECOND_NS // 10 + 1),
        (0, 2 * SECOND_NS // 10 + 1),
    ]
    assert not np.array_equal(results[1].more.clip, results[2].more.clip)


def test_a_discontinuity_begins_a_new_clip(weights):
    results = run(make_back(weights, "clip"), 3, discont=2)
    assert results[1].more.clip_ns == (0, SECOND_NS // 10 + 1)
    assert results[2].more.clip_ns == (2 * SECOND_NS // 10, 2 * SECOND_NS // 10 + 1)


def test_cameras_have_clips_of_their_own(weights):
    (alone,) = run(make_back(weights, "clip"), 1)
    back = make_back(weights, "clip")
    for camera, image in (("other", make_frame(1, size=SIZE).image), ("one", None)):
        frame = make_frame(0, camera, SIZE)
        frame = frame if image is None else replace(frame, image=image)
        front = build_front(EncoderConfig(input_size=SIZE), TilingConfig())
        (result,), _ = back.step([front.step(frame, Feedback())])
    assert np.array_equal(result.more.clip, alone.more.clip)


def test_nobody_asks_nothing_is_made_but_the_frames_trained_vector(weights, untrained_weights):
    (ours,), (plain,) = run(make_back(weights), 1), run(make_back(untrained_weights), 1)
    assert (ours.more.pyramid, ours.more.objects, ours.more.clip) == (None, None, None)
    assert ours.embedding.shape == plain.embedding.shape == (256,)
    assert not np.allclose(ours.embedding, plain.embedding), "the bundle's embedder makes it"


def test_reuse_gives_the_vectors_of_the_dense_encoder(weights):
    """A P packet's embeddings are those of an I packet of the same canvas."""
    back, again = (make_back(weights, "pyramid", "object") for _ in range(2))
    front = build_front(EncoderConfig(input_size=SIZE), TilingConfig())
    first, second = (front.step(make_frame(i, size=SIZE), Feedback()) for i in range(2))
    back.step([first])
    index = np.array([1], np.int32)
    plan = replace(second.plan, kind="P", index=index)
    (p,), _ = back.step([replace(second, base_seq=first.seq, plan=plan, tiles=second.tiles[index])])
    image = make_frame(0, size=SIZE).image.copy()
    image[:, 64:] = make_frame(1, size=SIZE).image[:, 64:]
    mixed = replace(make_frame(0, size=SIZE), image=image)
    fresh = build_front(EncoderConfig(input_size=SIZE), TilingConfig())
    (i,), _ = again.step([fresh.step(mixed, Feedback())])
    np.testing.assert_allclose(p.embedding, i.embedding, atol=1e-5)
    np.testing.assert_allclose(p.more.pyramid, i.more.pyramid, atol=1e-3)
    np.testing.assert_allclose(p.more.objects, i.more.objects, atol=1e-3)


def test_a_bundle_without_them_fails_before_the_first_frame(untrained_weights):
    with pytest.raises(WeightsError, match="take clip out of publish"):
        make_back(untrained_weights, "clip")
