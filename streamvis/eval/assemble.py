"""From what the runs left to what the evaluation says."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from streamvis.eval.bootstrap import Bootstrap, intervals
from streamvis.eval.calibration import calibrate
from streamvis.eval.contenders import Run, machine_facts
from streamvis.eval.detection import (
    Matches,
    MatchSettings,
    groups_of,
    match_detections,
    score_matches,
)
from streamvis.eval.labels import DriveLabels
from streamvis.eval.probe import bend_labels
from streamvis.eval.result import (
    Against,
    ConfigResult,
    Cost,
    DetectionScore,
    EmbeddingScore,
    EvalResult,
    StreamingScore,
    TrackingScore,
)
from streamvis.eval.rounds import Footage
from streamvis.eval.runner import TURN_ROUNDS, RunRecord
from streamvis.eval.shards import RunLog
from streamvis.eval.streaming import streaming_score
from streamvis.eval.tracking import tracking_score
from streamvis.eval.tracks import track

DRAWS = 1000
SEED = 0
_BLOCK_S = 5.0  # drawn together where the labels have no tracks
OnStage = Callable[[str], None]


def assemble(
    footage: Footage,
    labels: DriveLabels,
    records: Sequence[RunRecord],
    speed_factor: float = 1.0,
    on_stage: OnStage = lambda _: None,
) -> EvalResult:
    """Score every run. `labels` are those of the footage's cameras."""
    first = records[0].log
    scored = labels.only(first.keys)
    matches = {}
    for record in records:
        on_stage(f"matching {record.run.name}")
        matches[record.run.name] = _match(labels_for(record.run, scored), record)
    on_stage("drawing the intervals")
    spread = {
        group: intervals(
            {name: by_group[group] for name, by_group in matches.items()},
            draws=DRAWS,
            seed=SEED,
            block_frames=block_frames(first),
        )
        for group in groups_of(scored)
    }
    configs = []
    for record in records:
        on_stage(f"scoring {record.run.name}")
        configs.append(_config_result(record, records, scored, matches, spread, speed_factor))
    return EvalResult(
        drive=footage.folder.resolve().name,
        cameras=footage.cameras,
        num_frames=len(first.camera),
        num_labelled=len(scored.frames),
        duration_s=_duration_s(records[0]),
        settings=_settings(spread, speed_factor),
        machine=machine_facts(),
        configs=configs,
        notes=_notes(footage, labels, scored, records),
    )


def labels_for(run: Run, labels: DriveLabels) -> DriveLabels:
    """The labels as the run's pictures show them: a lens moves them."""
    return bend_labels(labels) if run.probe == "fisheye" else labels


def _match(labels: DriveLabels, record: RunRecord) -> dict[str, Matches]:
    found = record.log.found()
    return {group: match_detections(labels, found, group) for group in groups_of(labels)}


def _config_result(
    record: RunRecord,
    records: Sequence[RunRecord],
    scored: DriveLabels,
    matches: Mapping[str, Mapping[str, Matches]],
    spread: Mapping[str, Bootstrap],
    speed_factor: float,
) -> ConfigResult:
    run, labels = record.run, labels_for(record.run, scored)
    own = matches[run.name]
    return ConfigResult(
        name=run.name,
        probe=run.probe,
        model=record.facts.model,
        config=run.config.model_dump(mode="json"),
        detection={group: _detection(run.name, own[group], spread[group]) for group in own},
        calibration={group: calibrate(own[group]) for group in own},
        streaming=_streaming(record, labels, speed_factor) if _is_in_motion(labels) else None,
        tracking=_tracking(record, labels) if _is_in_motion(labels) else {},
        embedding=_embedding(record, records),
        cost=_cost(record),
        notes=_run_notes(record),
        against=compare_costs(record, records),
    )


def _detection(name: str, matches: Matches, spread: Bootstrap) -> DetectionScore:
    return replace(
        score_matches(matches),
        intervals=spread.intervals.get(name, {}),
        differences=spread.differences.get(name, {}),
    )


def _is_in_motion(labels: DriveLabels) -> bool:
    """Whether a camera has two labelled frames; of one there is nothing to follow."""
    return max(Counter(camera for camera, _ in labels.frames).values(), default=0) > 1


def _streaming(record: RunRecord, labels: DriveLabels, speed_factor: float) -> StreamingScore:
    log = record.log
    return streaming_score(
        labels,
        log.found(),
        log.rounds,
        arrival_ms=log.round_media_ns / 1e6,
        service_ms=log.service_ns / 1e6,
        speed_factor=speed_factor,
    )


def _tracking(record: RunRecord, labels: DriveLabels) -> dict[str, TrackingScore]:
    if not labels.has_tracks:
        return {}
    tracked = track(record.log, record.run.config)
    return {group: tracking_score(labels, tracked, group) for group in groups_of(labels)}


def _embedding(record: RunRecord, records: Sequence[RunRecord]) -> EmbeddingScore | None:
    reference = next((r for r in records if r.run.name == record.run.reference), None)
    ours = record.log.embedding
    if reference is None or not ours.shape[1]:
        return None
    cosine = np.sum(ours * reference.log.embedding, axis=1)  # both have norm 1
    p1, median = np.percentile(cosine, (1, 50))
    return EmbeddingScore(reference.run.name, float(cosine.min()), float(p1), float(median))


def compare_costs(record: RunRecord, records: Sequence[RunRecord]) -> Against | None:
    """Beside the first config, under the same probe."""
    first = next(r for r in records if r.run.probe == record.run.probe)
    if record is first:
        return None
    is_same = record.facts.model == first.facts.model and record.log.embedding.shape[1] > 0
    cosine = np.sum(record.log.embedding * first.log.embedding, axis=1) if is_same else None
    p1, median = (None, None) if cosine is None else np.percentile(cosine, (1, 50)).tolist()
    return Against(
        run=first.run.name,
        cosine_p1=p1,
        cosine_median=median,
        speedup=_ratio(_service_ns(first), _service_ns(record)),
        flop_speedup=_ratio(first.gflops_per_frame, record.gflops_per_frame),
    )


def _service_ns(record: RunRecord) -> float:
    """What encoder and detector took for all frames."""
    return float(record.log.encode_ns.sum() + record.log.detect_ns.sum())


def _ratio(first: float, own: float) -> float | None:
    return first / own if own else None


def _cost(record: RunRecord) -> Cost:
    log, facts = record.log, record.facts
    return Cost(
        tiles_total=log.encoded.size,
        tiles_encoded=int(log.encoded.sum()),
        gflops_per_frame=record.gflops_per_frame,
        encode_ms=(log.encode_ns / 1e6).astype(np.float32),
        detect_ms=(log.detect_ns / 1e6).astype(np.float32),
        latency_ms=(log.latency_ns / 1e6).astype(np.float32),
        memory_mb=facts.memory_mb,
    )


def _settings(spread: Mapping[str, Bootstrap], speed_factor: float) -> dict[str, Any]:
    match = MatchSettings()
    return {
        "score_floor": match.score_floor,
        "max_detections": match.max_detections,
        "merged_nms_iou": match.nms_iou,
        "bootstrap_draws": DRAWS,
        "bootstrap_seed": SEED,
        "bootstrap_units": {name: _count_units(it) for name, it in spread.items()},
        "speed_factor": speed_factor,
        "streaming": "all cameras on one machine, arrival by media time, measured times",
        "turn_rounds": TURN_ROUNDS,
    }


def _count_units(spread: Bootstrap) -> str:
    """Such as `33 tracks`."""
    what, _, rest = spread.unit.partition(" ")
    plural = what if spread.num_units == 1 else f"{what}s"
    return f"{spread.num_units} {plural} {rest}".strip()


def _notes(
    footage: Footage, labels: DriveLabels, scored: DriveLabels, records: Sequence[RunRecord]
) -> list[str]:
    notes = []
    missing = len(labels.frames) - len(scored.frames)
    if missing and footage.max_frames is None:
        notes.append(f"{missing} labelled frames could not be decoded and are left out.")
    if not scored.has_tracks:
        notes.append("The labels have no track ids, so there are no tracking figures.")
    if not _is_in_motion(scored):
        notes.append(
            "No camera has two labelled frames, so there are no streaming and tracking figures."
        )
    load, cores = max(r.facts.load_average for r in records), len(os.sched_getaffinity(0))
    if load > cores / 2:
        notes.append(
            f"The machine was busy when it began (load {load:.1f} on {cores} cores): times, and "
            "with them streaming accuracy, are worse than on an idle one."
        )
    return notes + _session_notes(records)


def _session_notes(records: Sequence[RunRecord]) -> list[str]:
    """A machine's speed drifts: only runs that took turns with each other share it."""
    together: dict[frozenset[str], list[str]] = {}
    for record in records:
        together.setdefault(record.sessions, []).append(record.run.name)
    if len(together) == 1:
        return []
    names = " and of ".join(", ".join(group) for group in together.values())
    return [
        f"The times of {names} were measured in different runs: compare accuracy, not times or "
        "streaming accuracy, or run again with --fresh."
    ]


def _run_notes(record: RunRecord) -> list[str]:
    run, notes = record.run, []
    if not record.log.embedding.shape[1]:
        notes.append("It runs no encoder, so it has no embedding.")
    elif run.config.is_dense and run.probe is None:
        notes.append("It encodes every tile: its embedding is the dense one itself.")
    if run.probe == "fisheye":
        notes.append("Labels and detections are compared behind the lens: boxes around bent boxes.")
    notes += [
        f"Resumed at round {start}: each camera began again with all of its tiles."
        for start in record.resumed_rounds
    ]
    return notes


def block_frames(log: RunLog) -> int:
    """How many rounds make 5 s."""
    gaps_ns = np.diff(log.round_media_ns)
    return max(1, round(_BLOCK_S * 1e9 / float(np.median(gaps_ns)))) if len(gaps_ns) else 1


def _duration_s(record: RunRecord) -> float:
    """Of the longest camera, its last frame included."""
    media_ns = record.log.round_media_ns
    gap_ns = float(np.median(np.diff(media_ns))) if len(media_ns) > 1 else 0.0
    return (float(media_ns.max()) + gap_ns) / 1e9
