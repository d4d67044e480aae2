"""A recording, replayed, gives what was: equal under wire.canonical()."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import REPO, STREET
from matrix import contract

from streamvis import wire
from streamvis.config.load import load_config
from streamvis.errors import ConfigError, SourceError
from streamvis.record.reader import Recording
from streamvis.replay.config import ReplayOptions, replay_config
from streamvis.runtime.session import RunSummary, Session
from streamvis.topology import PipelineConfig

KINDS = ("det", "emb", "plan")
LIVE = ["front", "front_left", "left", "back"]


def record(config: PipelineConfig) -> tuple[Path, RunSummary]:
    summary = Session(config).run()
    assert summary.exit_code == 0, summary.problems
    assert summary.recording is not None
    assert not any(summary.recording.lost.values())
    return summary.recording.path, summary


def again(path: Path, tmp_path: Path, **options) -> tuple[Path, RunSummary]:
    return record(replay_config(path, ReplayOptions(record=tmp_path / "again", **options)))


def canonical(path: Path) -> list[bytes]:
    return sorted(wire.canonical(message.parts) for message in Recording.open(path).messages(KINDS))


def ledgers(summary: RunSummary) -> dict[str, object]:
    return {status.camera: status.ledger for status in summary.cameras}


def assert_adds_up(summary: RunSummary) -> None:
    for status in summary.cameras:
        ledger = status.ledger
        assert ledger.in_flight == 0
        assert ledger.published + sum(ledger.lost.values()) == ledger.source_frames > 0


@contract("replay")
def test_the_demos_recording_on_ray_replays_equal(tmp_path):
    demo = load_config(
        REPO / "pipelines/av_4cam.yaml",
        PipelineConfig,
        ["clock=replay", "defaults.max_frames=8", f"outputs=[{{record: {tmp_path / 'rec'}}}]"],
    )
    path, before = record(demo)
    copy, after = again(path, tmp_path, runtime="local")
    messages = canonical(path)
    assert len(messages) == len(KINDS) * 4 * 8
    assert canonical(copy) == messages
    assert ledgers(after) == ledgers(before)


@pytest.fixture(scope="module")
def live(tmp_path_factory) -> tuple[Path, RunSummary]:
    """Four cameras at ten times their speed, 600 frames a second: more than anything keeps up
    with here."""
    config = {
        "version": 1,
        "name": "live",
        "clock": "live",
        "speed": 10,
        "runtime": {"kind": "ray"},
        "defaults": {"uri": str(STREET)},
        "sources": {name: {} for name in LIVE},
        "encoder": {"input_size": [640, 384]},
        "outputs": [{"record": str(tmp_path_factory.mktemp("live"))}],
    }
    path, summary = record(PipelineConfig.model_validate(config))
    dropped = [status.ledger.lost["policy"] for status in summary.cameras]
    assert min(dropped) > 0, "nothing was dropped: the test would show nothing"
    return path, summary


@contract("replay")
@pytest.mark.parametrize("runtime", ["local", "ray"])
def test_a_live_run_is_repeated_with_its_drops_and_batches(runtime, live, tmp_path):
    path, before = live
    copy, after = again(path, tmp_path, as_recorded=True, runtime=runtime)
    messages = canonical(path)
    published = sum(status.ledger.published for status in before.cameras)
    assert len(messages) == len(KINDS) * published
    assert canonical(copy) == messages
    assert ledgers(after) == ledgers(before)


def test_a_lossless_replay_of_a_live_run_sees_every_frame(live, tmp_path):
    path, _ = live
    options = ("encoder.input_size=[256, 192]",)
    cameras = ("left", "back")
    _, summary = again(path, tmp_path, cameras=cameras, overrides=options, runtime="local")
    assert {status.camera for status in summary.cameras} == {"left", "back"}
    for status in summary.cameras:
        assert status.ledger.published == status.ledger.source_frames == 90


def small(**options) -> PipelineConfig:
    overrides = ("encoder.input_size=[256, 192]", "encoder.threads=1")
    return replay_config(STREET, ReplayOptions(runtime="local", overrides=overrides, **options))


def test_the_ledger_of_a_window_knows_only_the_window(tmp_path):
    config = small(start_ns=10**9, end_ns=2 * 10**9, cameras=("front", "back"), record=tmp_path)
    path, summary = record(config)
    assert_adds_up(summary)
    for status in summary.cameras:
        assert (status.ledger.source_frames, status.ledger.published) == (15, 15)
    indices = [wire.peek(m.parts).frame_index for m in Recording.open(path).messages(["det"])]
    assert sorted(set(indices)) == list(range(15, 30))
    copy, _ = again(path, tmp_path)
    assert canonical(copy) == canonical(path)


@contract("replay")
def test_a_recorded_loop_replays_equal(tmp_path):
    config = small(loop=True, cameras=("left",), max_frames=96, record=tmp_path)
    path, before = record(config)
    assert_adds_up(before)
    headers = [wire.peek(m.parts).header for m in Recording.open(path).messages(["det"])]
    assert [h["frame_index"] for h in headers if h["discont"]] == [90]
    copy, after = again(path, tmp_path)
    assert canonical(copy) == canonical(path)
    assert ledgers(after) == ledgers(before)


def test_a_part_can_be_looped(tmp_path):
    config = small(loop=True, end_ns=400_000_000, cameras=("left",), max_frames=14, record=tmp_path)
    path, summary = record(config)
    assert_adds_up(summary)
    headers = [wire.peek(m.parts).header for m in Recording.open(path).messages(["det"])]
    assert [h["frame_index"] for h in headers] == list(range(14))
    assert [h["frame_index"] for h in headers if h["discont"]] == [6, 12]


def test_speed_three_is_three_times_as_fast():
    config = small(speed=3.0, cameras=("front",), max_frames=60)
    assert config.clock == "live"
    summary = Session(config).run()
    assert_adds_up(summary)
    media_s = 59 / 15
    assert media_s / 3 <= summary.duration_s < media_s


def test_what_cannot_be_repeated_is_one_sentence(live, tmp_path):
    path, _ = live
    for options in ({"speed": 1.0}, {"loop": True}, {"start_ns": 5}, {"cameras": ("left",)}):
        with pytest.raises(ConfigError, match="--as-recorded"):
            replay_config(path, ReplayOptions(as_recorded=True, **options))
    with pytest.raises(ConfigError, match="only a recording"):
        replay_config(STREET, ReplayOptions(as_recorded=True))
    with pytest.raises(SourceError, match="no camera roof; it has front"):
        replay_config(path, ReplayOptions(cameras=("roof",)))
    with pytest.raises(SourceError, match="no such drive or recording"):
        replay_config(tmp_path / "no", ReplayOptions())
    with pytest.raises(SourceError, match=r"neither a drive .* nor a recording"):
        replay_config(tmp_path, ReplayOptions())


def test_a_replay_has_no_output_of_the_recorded_run(live):
    config = replay_config(live[0], ReplayOptions())
    assert config.outputs == []
    assert config.name == "live", "the name is part of every topic"
    assert config.encoder.threads is not None, "sums depend on it"
