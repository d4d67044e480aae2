"""Cameras come and go while the others run, on both runtimes."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import write_clip
from running import check_books, running

from streamvis.errors import ConfigError, ControlError
from streamvis.runtime.control import Control
from streamvis.runtime.report import CameraReport
from streamvis.runtime.roster import Roster
from streamvis.runtime.session import Session
from streamvis.topology import PipelineConfig


def config(folder: Path, kind: str = "local", until: str = "cameras_end", **extra):
    clip = folder / "clip.mp4"
    if not clip.exists():
        write_clip(clip, num_frames=30)
    return PipelineConfig.model_validate(
        {
            "version": 1,
            "name": "test",
            "runtime": {"kind": kind, "run_until": until},
            "sources": {"a": {"uri": str(clip), "loop": True}},
            "encoder": {"input_size": (128, 64), "threads": 1},
            "outputs": [{"publish": f"pub+bind:ipc://{folder}/out"}],
            **extra,
        }
    )


@pytest.mark.parametrize("runtime", ["local", "ray"])
def test_a_camera_is_added_restarted_and_removed_and_the_other_one_misses_nothing(
    runtime, tmp_path
):
    made = config(tmp_path, runtime)
    loop = {"uri": made.sources["a"].uri, "loop": True}
    with running(made) as run:
        run.more_results("a")
        control = run.session.control
        control.add("b", loop)
        run.more_results("b")
        last_index = run.results("b")[-1].frame_index
        control.restart("b")
        run.until(
            lambda: any(m.is_discont and m.frame_index > last_index for m in run.results("b")),
            "its first frame after the restart",
        )
        control.remove("b")
        run.until(lambda: "b" not in run.states(), "a heartbeat without b")
        seen = len(run.results("b"))
        control.add("b", loop)
        run.until(lambda: len(run.results("b")) > seen, "b under the same name")
        control.remove("b")
        with pytest.raises(ControlError, match="no camera b; there are: a"):
            control.remove("b")
        run.until(lambda: "b" not in run.states(), "a heartbeat without b")
        run.more_results("a")
        summary = run.stop()
    for camera in "ab":
        check_books(run, summary, camera)
    first, *_, last = run.results("a")
    assert {m.epoch for m in run.results("a")} == {first.epoch}
    assert [m.seq for m in run.results("a")] == list(range(last.seq + 1))
    assert {status.camera: status.state for status in summary.cameras}["b"] == "removed"


def test_what_differs_is_changed_and_the_rest_is_told(tmp_path):
    made = config(tmp_path)
    source = made.sources["a"]
    wanted = made.model_copy(
        update={
            "sources": {"b": source, "c": source},
            "encoder": made.encoder.model_copy(update={"dtype": "fp32"}),
        }
    )
    with running(made) as run:
        run.more_results("a")
        plan = run.session.control.change_to(wanted, is_dry=True)
        assert (plan.added, plan.removed, plan.changed) == (("b", "c"), ("a",), ())
        assert plan.needs_new_run == ("encoder.dtype",)
        assert list(run.session.control.config.sources) == ["a"], "a dry run changes nothing"
        run.session.control.change_to(wanted)
        run.more_results("b")
        run.more_results("c")
        changed = wanted.sources["b"].model_copy(update={"max_frames": 5})
        again = wanted.model_copy(update={"sources": {"b": changed, "c": source}})
        assert run.session.control.change_to(again).changed == ("b",)
        run.until(lambda: run.states().get("b") == "ended", "b with five frames")
        summary = run.stop()
    for camera in "abc":
        check_books(run, summary, camera)


def test_a_pipeline_that_runs_until_it_is_stopped_needs_no_camera(tmp_path):
    made = config(tmp_path, until="stopped")
    with running(made) as run:
        run.more_results("a")
        run.session.control.remove("a")
        run.until(lambda: run.states() == {}, "a heartbeat without cameras")
        run.session.control.add("b", {"uri": made.sources["a"].uri, "max_frames": 4})
        run.until(lambda: run.states().get("b") == "ended", "b at its end")
        summary = run.stop()
    assert len(run.results("b")) <= 4
    check_books(run, summary, "b")


def test_a_film_keeps_to_the_cameras_it_began_with(tmp_path):
    film = tmp_path / "film.mp4"
    outputs = [{"publish": f"pub+bind:ipc://{tmp_path}/out"}, {"mosaic": str(film)}]
    made = config(tmp_path, tiling={"policy": "threshold"}, outputs=outputs)
    with running(made) as run:
        run.more_results("a")
        run.session.control.add("b", {"uri": made.sources["a"].uri, "loop": True})
        run.more_results("b")
        summary = run.stop()
    assert summary.problems == []
    assert film.exists()


def test_what_cannot_be_is_refused_in_one_sentence(tmp_path):
    session = Session(config(tmp_path))
    with pytest.raises(ControlError, match="not running yet"):
        session.control.remove("a")
    with running(config(tmp_path)) as run:
        run.more_results("a")
        control = run.session.control
        with pytest.raises(ControlError, match="is there already"):
            control.add("a", {"uri": "x.mp4"})
        with pytest.raises(ConfigError, match="source b: lop: unknown key"):
            control.add("b", {"uri": "x.mp4", "lop": True})
        with pytest.raises(ControlError, match="would have"):
            control.add("b", {"uri": "y" * 600_000 + ".mp4"})
        with pytest.raises(ConfigError, match="cannot be a name"):
            control.add("b/c", {"uri": "x.mp4"})
        control.add("gone", {"uri": "/nowhere/x.mp4"})
        run.until(lambda: run.states().get("gone") == "not_found", "its typed state")
        control.restart("gone")
        control.remove("gone")
        run.until(lambda: "gone" not in run.states(), "a heartbeat without it")
        run.stop()


class DeafEngine:
    """Refuses every camera, as one does whose last camera has just ended."""

    def add(self, config: PipelineConfig, camera: str) -> None:
        raise ControlError(f"all cameras have ended, and {camera} of {config.name} too")

    def remove(self, camera: str) -> None:
        self.left = camera

    def gone(self) -> list[CameraReport]:
        return [CameraReport(self.left, "ended")]


def deaf(made: PipelineConfig) -> tuple[Control, Roster]:
    roster = Roster(made)
    control = Control(made, roster)
    control.attach(DeafEngine())
    return control, roster


def test_a_restart_that_comes_too_late_is_this_cameras_error_and_ends_nothing(tmp_path):
    control, roster = deaf(config(tmp_path))
    control._restart("a", control.config.sources["a"])
    control.see_gone()
    (status,) = roster.ledger.status()
    assert (status.state, status.is_failed) == ("error", True)
    assert "all cameras have ended" in status.error
    assert control.config.sources == {}


def test_a_camera_that_could_not_begin_is_not_there(tmp_path):
    control, _ = deaf(config(tmp_path))
    with pytest.raises(ControlError, match="have ended"):
        control._add("b", control.config.sources["a"])
    assert list(control.config.sources) == ["a"]


def test_what_is_added_after_a_reload_has_the_new_defaults(tmp_path):
    made = config(tmp_path)
    clip = {"uri": made.sources["a"].uri}
    wanted = config(tmp_path, defaults={"max_frames": 4, "live": {"timeout": "3s"}})
    wanted = wanted.model_copy(update={"sources": made.sources})
    with running(made) as run:
        run.more_results("a")
        control = run.session.control
        changes = control.change_to(wanted, is_dry=True)
        assert changes.added == changes.removed == changes.changed == ()
        assert control.config.defaults == made.defaults
        control.change_to(wanted)
        control.add("b", clip)
        added = control.config.sources["b"]
        assert (added.max_frames, added.live.timeout) == (4, 3_000_000_000)
        run.until(lambda: run.states().get("b") == "ended", "b at its end")
        run.stop()


def test_a_replay_keeps_its_cameras(tmp_path):
    with running(config(tmp_path, clock="replay")) as run:
        run.more_results("a")
        with pytest.raises(ControlError, match="replay"):
            run.session.control.add("b", {"uri": "x.mp4"})
