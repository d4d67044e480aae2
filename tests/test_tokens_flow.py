"""Semantic tokens from a camera to a subscriber and into a recording."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import STREET
from endpoint import endpoint
from wire_samples import make_result, make_tokens

from streamvis import wire
from streamvis.errors import WeightsError
from streamvis.record.reader import Recording
from streamvis.runtime.session import Session
from streamvis.topology import PipelineConfig
from streamvis.types import Tokens
from streamvis.wire import SemMessage

FRAMES = 3


def config(weights: Path, folder: Path, opt_in: list[str]) -> PipelineConfig:
    values = {
        "version": 1,
        "name": "tokens",
        "clock": "replay",
        "runtime": {"kind": "local"},
        "sources": {"front": {"uri": str(STREET), "max_frames": FRAMES}},
        "encoder": {"weights": str(weights), "input_size": (256, 192), "threads": 1},
        "outputs": [
            {"publish": {"address": f"pub+bind:ipc://{folder}/out", "opt_in": opt_in}},
            {"record": {"dir": str(folder / "recs"), "min_free": "0B"}},
        ],
    }
    return PipelineConfig.model_validate(values)


def recorded(weights: Path, folder: Path, opt_in: list[str]) -> Recording:
    summary = Session(config(weights, folder, opt_in)).run()
    assert not summary.problems
    (run,) = (folder / "recs").iterdir()
    return Recording.open(run)


def test_tokens_are_published_and_recorded_when_asked_for(weights_with_tokens, tmp_path):
    recording = recorded(weights_with_tokens, tmp_path, ["sem"])
    messages = list(recording.messages(["sem"]))
    assert len(messages) == FRAMES
    for index, item in enumerate(messages):
        message = wire.decode(item.parts)
        assert isinstance(message, SemMessage)
        assert message.frame_index == index
        width, height = message.source_size
        assert message.tokens.vectors.shape == (24, 64)
        assert message.tokens.xyxy.max() > 256, "boxes are in source pixels"
        assert (message.tokens.xyxy <= (width, height, width, height)).all()


def test_tokens_are_not_made_unless_asked_for(weights_with_tokens, tmp_path):
    assert "sem" not in recorded(weights_with_tokens, tmp_path, []).kinds


def test_asking_a_bundle_without_tokens_is_an_error_at_the_start(untrained_weights, tmp_path):
    with pytest.raises(WeightsError, match="no semantic tokens"):
        Session(config(untrained_weights, tmp_path, ["sem"])).run()


def test_a_subscriber_gets_tokens_and_counts_no_gap(tmp_path):
    with endpoint(tmp_path) as e, e.subscriber("sem") as sub:
        with e.publisher() as publisher:
            for i in range(5):
                publisher.send(replace(make_result(i), tokens=make_tokens()))
            publisher.send(make_result(5))  # of a bundle without tokens: no message
        e.proxy.stop()
        messages = list(sub)
        assert not sub.gaps
    assert [m.seq for m in messages] == list(range(5))
    np.testing.assert_array_equal(messages[0].tokens.codes, [300, 301])


def test_a_code_beyond_the_codebook_is_refused():
    tokens = make_tokens()
    with pytest.raises(ValueError, match="codes must be below 300"):
        Tokens(tokens.vectors, tokens.codes, tokens.xyxy, tokens.share, 300)
