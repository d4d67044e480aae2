"""The soak's judgement: what it must call a leak, and what it must not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soak_judge
from soak_log import read_log
from soak_plot import draw

CONTROLS = ("hall",)


def log_of(rss_mb: Callable[[float], float], minutes: int = 60, lives: int = 1) -> list[dict]:
    """A sample every 5 s of one camera's process, which is replaced at even intervals."""
    noise = np.random.default_rng(0)
    samples = []
    for t_s in range(0, minutes * 60, 5):
        life, age_s = divmod(t_s, minutes * 60 // lives)
        process = {
            "role": "camera",
            "life": str(life),
            "name": "python",
            "rss_mb": 100 + 5 * life + rss_mb(age_s) + float(noise.normal()),
            "uss_mb": 90.0,
            "fds": 20,
            "threads": 5,
        }
        samples.append(
            {"kind": "sample", "t_s": t_s, "processes": [process], "results_hz": {"hall": 5.0}}
        )
    return samples


def flat(age_s: float) -> float:
    del age_s
    return 0.0


@pytest.mark.parametrize("lives", [1, 4])
def test_a_leak_is_found_in_one_long_life_and_in_several_short_ones(lives):
    slopes = soak_judge.trends(log_of(lambda age_s: 9 * age_s / 3600, lives=lives))
    rss = slopes["camera"]["rss_mb"]
    assert rss.grows
    assert rss.slope == pytest.approx(9, abs=2.5)
    assert (rss.num_lives, slopes["camera"]["fds"].grows) == (lives, False)


@pytest.mark.parametrize("lives", [1, 4])
def test_noise_and_processes_that_begin_larger_are_no_leak(lives):
    rss = soak_judge.trends(log_of(flat, lives=lives))["camera"]["rss_mb"]
    assert not rss.grows
    assert rss.half_width < 3


def test_what_fills_up_while_it_warms_up_is_no_leak():
    log = log_of(lambda age_s: 50 * min(1.0, age_s / 500))
    assert not soak_judge.trends(log)["camera"]["rss_mb"].grows


def test_a_short_soak_says_nothing_about_slopes():
    summary = soak_judge.judge(log_of(lambda age_s: age_s, minutes=5), None, CONTROLS)
    assert summary["verdicts"]["memory, files and threads are flat"] is None
    assert summary["held"] is False, "one that was stopped has not held its promises"
    assert soak_judge._held(summary["verdicts"]) is None, "and a short one is not judged"
    assert soak_judge._held({"a": None, "b": False}) is False
    assert soak_judge._held({"a": True, "b": True}) is True


def test_books_that_do_not_add_up_are_told():
    lost = {"source": 0, "decode": 1, "policy": 2, "infer": 0, "publish": 0}
    books = {"source_frames": 10, "published": 7, "in_flight": 0, "lost": lost}
    assert soak_judge._are_exact(books, 7)
    assert not soak_judge._are_exact(books, 6), "a result that nobody got"
    assert not soak_judge._are_exact({**books, "source_frames": 11}, 7)
    assert not soak_judge._are_exact({**books, "source_frames": 11, "in_flight": 1}, 7)


def test_a_soak_that_was_stopped_leaves_what_the_plot_needs(tmp_path: Path):
    rows = [*log_of(flat, minutes=2)]
    rows.append({"kind": "fault", "name": "mute", "t_s": 9.0, "began_s": 5.0, "camera": "gate"})
    text = "\n".join(map(json.dumps, rows)) + '\n{"kind": "sam'  # killed while it wrote
    (tmp_path / "soak.jsonl").write_text(text)
    draw(read_log(tmp_path / "soak.jsonl"), tmp_path / "soak.png")
    assert 1000 < (tmp_path / "soak.png").stat().st_size < 150_000
