"""The worker's half: which packets it takes, what it answers, and what a result says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import STREET, make_frame

from streamvis.back import PerceptionBack, build_back
from streamvis.detect.config import DetectorConfig
from streamvis.encode.config import EncoderConfig
from streamvis.front import build_front
from streamvis.pipeline import Pipeline
from streamvis.source.config import SourceConfig
from streamvis.source.open import open_source
from streamvis.tiling.config import TilingConfig
from streamvis.topology import PipelineConfig
from streamvis.track.config import TrackerConfig
from streamvis.types import Feedback, Frame

ENCODER = EncoderConfig(input_size=(128, 64))


@pytest.fixture(scope="module")
def back() -> PerceptionBack:
    """Loaded once; every test uses cameras of its own."""
    return build_back(ENCODER, DetectorConfig(), TrackerConfig(), epoch="e")


def packets(camera: str, count: int):
    front = build_front(ENCODER, TilingConfig())
    return [front.step(make_frame(i, camera, (128, 64)), Feedback()) for i in range(count)]


def as_p(packet, index=(0,)):
    index = np.array(index, np.int32)
    plan = replace(packet.plan, kind="P", index=index)
    return replace(packet, base_seq=packet.seq - 1, plan=plan, tiles=packet.tiles[index])


def test_a_p_packet_without_its_base_is_refused_counted_and_answered_with_a_pli(back):
    front = build_front(ENCODER, TilingConfig())
    frames = [make_frame(i, "pli", (128, 64)) for i in range(3)]
    front.step(frames[0], Feedback())
    second = front.step(frames[1], Feedback(acked_seq=0))
    results, feedback = back.step([as_p(second)])
    assert results == []
    assert feedback["pli"].need_i
    assert feedback["pli"].credit == 1, "the camera must be able to send the I packet"
    third = front.step(frames[2], feedback["pli"])
    results, feedback = back.step([third])
    assert not feedback["pli"].need_i
    assert feedback["pli"].acked_seq == third.seq
    assert results[0].ledger.lost["infer"] == 1


def test_a_refused_packet_does_not_keep_the_batch_from_the_others(back):
    bad, good = packets("bad", 2)[1], packets("good", 1)[0]
    results, feedback = back.step([as_p(bad), good])
    assert [r.camera for r in results] == ["good"]
    assert set(feedback) == {"bad", "good"}


def test_a_p_packet_gives_what_the_dense_encoder_gives_on_the_canvas(back):
    """What the back encodes is the canvas; the frame itself never counts."""
    first, second = packets("canvas", 2)
    back.step([first])
    (result,), _ = back.step([as_p(second, index=(1,))])
    mixed = make_frame(0, "whole", (128, 64)).image.copy()
    mixed[:, 64:] = make_frame(1, "whole", (128, 64)).image[:, 64:]
    frame = replace(make_frame(0, "whole", (128, 64)), image=mixed)
    (whole,), _ = back.step([build_front(ENCODER, TilingConfig()).step(frame, Feedback())])
    assert np.array_equal(result.embedding, whole.embedding)
    assert result.tiles.encoded == 1
    assert result.tiles.total == 2


def test_a_result_says_which_frame_it_is_for_and_what_it_cost(back):
    (packet,) = packets("one", 1)
    (result,), _ = back.step([packet])
    assert (result.camera, result.frame_index, result.epoch) == ("one", 0, "e")
    assert result.embedding.shape == (256,)
    assert np.linalg.norm(result.embedding) == pytest.approx(1, abs=1e-3)
    assert result.packet_kind == "I"
    assert result.tiles.encoded == result.tiles.total == 2
    assert len(result.model.weights_sha256) == 64
    ledger = result.ledger
    assert (ledger.source_frames, ledger.published, ledger.in_flight) == (1, 1, 0)


def street_frames(count: int) -> list[Frame]:
    source = open_source("front", SourceConfig(uri=str(STREET)), (640, 384))
    frames = []
    while len(frames) < count and source.grab() is not None:
        if frame := source.retrieve(0):
            frames.append(frame)
    source.close()
    return frames


class Kept:
    """The in-memory twin of a publisher."""

    def __init__(self) -> None:
        self.results = []
        self.images = []

    def send(self, result) -> None:
        self.results.append(result)

    def send_image(self, camera, frame_index, jpeg) -> None:
        self.images.append((camera, frame_index, jpeg))


def run_pipeline(frames, **config):
    made = PipelineConfig.model_validate(
        {"version": 1, "name": "t", "sources": {"front": {"uri": str(STREET)}}, **config}
    )
    kept = Kept()
    pipeline = Pipeline(made, ["front"], kept, epoch="e")
    for frame in frames:
        pipeline.step([frame])
    return kept


def test_objects_on_the_street_keep_their_ids_and_a_jump_in_time_takes_them_away(tmp_path):
    frames = street_frames(8)
    frames[5] = replace(frames[5], is_discont=True)
    kept = run_pipeline(frames, outputs=[{"mosaic": str(tmp_path / "m.mp4")}])
    before = kept.results[4].detections
    assert len(before) > 0, "the bundled model sees something on its own street"
    tracked = {int(i) for r in kept.results[:5] for i in r.detections.track_id if i >= 0}
    after = {int(i) for r in kept.results[5:] for i in r.detections.track_id if i >= 0}
    assert tracked
    assert not tracked & after
    assert [index for _, index, _ in kept.images] == list(range(8))
    width, height = kept.results[0].source_size
    for result in kept.results:
        boxes = result.detections.xyxy
        assert np.all(boxes >= 0)
        assert np.all(boxes[:, 2] <= width)
        assert np.all(boxes[:, 3] <= height)


def test_reuse_encodes_less_and_after_a_jump_says_what_dense_says():
    frames = street_frames(8)
    frames[5] = replace(frames[5], is_discont=True)
    dense = run_pipeline(frames).results
    reuse = run_pipeline(frames, tiling={"policy": "threshold", "threshold": 12}).results
    assert [r.packet_kind for r in reuse] == ["I", *"PPPP", "I", *"PP"]
    assert sum(r.tiles.encoded for r in reuse) < 0.95 * sum(r.tiles.total for r in reuse)
    assert all(r.tiles.stale == 0 for r in reuse)
    for one, other in zip(reuse, dense, strict=True):
        assert one.embedding @ other.embedding > 0.98
    for n in (0, 5):
        np.testing.assert_allclose(reuse[n].embedding, dense[n].embedding, atol=5e-3)
        assert len(reuse[n].detections) == len(dense[n].detections)


def test_of_a_canvas_that_did_not_change_the_results_are_identical():
    (frame,) = street_frames(1)
    frames = [replace(frame, index=i, pts=i) for i in range(3)]
    tiling = {"policy": "threshold", "refresh": False}
    first, *others = run_pipeline(frames, tiling=tiling).results
    for result in others:
        assert result.tiles.encoded == 0
        assert np.array_equal(result.embedding, first.embedding)
        assert np.array_equal(result.detections.xyxy, first.detections.xyxy)
        assert np.array_equal(result.detections.score, first.detections.score)


def test_a_tile_that_only_moved_changes_nothing_that_was_said(back):
    first, second = packets("moved", 2)
    (said,), _ = back.step([first])
    plan = replace(as_p(second, ()).plan, motion=np.array([[8, -4], [0, 0]], np.int16))
    (again,), _ = back.step([replace(as_p(second, ()), plan=plan)])
    assert (again.tiles.moved, again.tiles.encoded) == (1, 0)
    assert np.array_equal(again.embedding, said.embedding)
    assert np.array_equal(again.detections.xyxy, said.detections.xyxy)
    assert np.array_equal(back.picture("moved"), first_picture(first))


def first_picture(packet):
    rows, cols, size = packet.plan.rows, packet.plan.cols, packet.plan.tile_px
    tiles = packet.tiles.reshape(rows, cols, size, size, 3).swapaxes(1, 2)
    return tiles.reshape(rows * size, cols * size, 3)
