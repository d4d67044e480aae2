"""The bundled model beside yolox_nano: speed, accuracy, calibration. Figures of its model card.

    python benchmarks/model.py latency | profile
    python benchmarks/model.py held-out | synthetic | calibrate | tiling | nested

`--help` says the rest. Times on one thread are the processor's, on more the wall's. Prints a
table, and one line of JSON last. Settings are chosen on held-out and rendered pictures only.
Pictures are folders with annotations.json and images/ in COCO form, as
`streamvis synth --labels coco` makes them; an image may name its `source` and the classes of which
all are `labelled`. Every detector gets them letter-boxed, at the same number of pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from document import table, write_block
from figures import EQUAL_PIXELS, YOLOX, YOLOX_SIZE, hardware
from model_speed import clock, latency, profile
from scipy.optimize import minimize

from streamvis.detect.config import DetectorConfig
from streamvis.detect.detector import Detector, HeadDetector, build_detector
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Encoder, Features, build_encoder
from streamvis.encode.sv_tiny import to_patches
from streamvis.encode.sv_tiny_encoder import SvTinyEncoder
from streamvis.encode.weights import BUNDLED, CalibrationMap, load_bundle
from streamvis.eval.bootstrap import intervals
from streamvis.eval.calibration import calibrate as reliability
from streamvis.eval.config import EvalConfig
from streamvis.eval.detection import GROUPS, VEHICLES, Matches, match_detections, score_matches
from streamvis.eval.evaluate import Evaluation, Options
from streamvis.eval.labels import DriveLabels, FrameLabels
from streamvis.eval.precision import IOU_50
from streamvis.eval.result import FrameKey
from streamvis.train.pictures import split
from streamvis.types import CLASSES, LETTERBOX_FILL, Detections

DATA = YOLOX.parents[1]
HELD_OUT = 0.1  # as configs/train/sv_tiny.yaml
BLOCK = 5  # pictures next to each other by name are one unit of the bootstrap
FLOOR = 0.01  # weaker detections are not looked at, as in `streamvis eval`
MIN_DETECTIONS = 50  # of a class, to fit a calibration of its own
Found = dict[FrameKey, Detections]


@dataclass(frozen=True)
class Shot:
    key: FrameKey
    image: np.ndarray  # uint8 [h, w, 3] RGB
    labels: FrameLabels
    labelled: frozenset[str]  # classes whose every object is marked


@dataclass
class Model:
    """A detector with the size of the picture it gets."""

    name: str
    size: tuple[int, int]
    encoder: Encoder
    detector: Detector

    def find(self, image: np.ndarray) -> Detections:
        """Boxes in the pixels of `image`."""
        canvas, scale = letterbox(image, self.size)
        features = self.encoder.encode_full(canvas[None])
        found = self.detector.detect(canvas[None], features)[0]
        return found.with_boxes(found.xyxy / np.float32(scale))


class NoEncoder:
    """For a detector that reads the picture itself."""

    def encode_full(self, images: torch.Tensor) -> Features:
        return Features({}, torch.zeros(len(images), 0))


def main() -> None:
    args = parse_args()
    verbs = {
        "latency": lambda: latency(args.weights, args.onnx, args.threads, args.turns),
        "profile": lambda: profile(args.weights, args.threads, args.turns),
        "held-out": lambda: accuracy(held_out(args.data)[:: args.every], args),
        "synthetic": lambda: accuracy(rendered(args.rendered)[:: args.every], args),
        "calibrate": lambda: calibrate(tuning_shots(args), args),
        "tiling": lambda: tiling(args),
        "nested": lambda: nested(args),
    }
    rows = verbs[args.verb]()
    print(f"{hardware()} {args.verb}, threads {args.threads}, load {os.getloadavg()[0]:.1f}\n")
    print(table(rows))
    if args.write:
        write_block(args.write, f"{args.verb}-drive" if args.drive else args.verb, table(rows))
    print(json.dumps({args.verb: rows}))


# Pictures


def held_out(data: Path) -> list[Shot]:
    """The tenth of every source that training leaves out."""
    return read_shots(data / "train", HELD_OUT)


def rendered(folders: Sequence[Path]) -> list[Shot]:
    return [shot for folder in folders for shot in read_shots(folder, None)]


def tuning_shots(args: argparse.Namespace) -> list[Shot]:
    """What settings may be chosen on."""
    return (held_out(args.data) + rendered(args.rendered))[:: args.every]


def read_shots(folder: Path, hold_out: float | None) -> list[Shot]:
    data = json.loads((folder / "annotations.json").read_text())
    images = data["images"] if hold_out is None else split(data["images"], hold_out)[1]
    names = {category["id"]: category["name"] for category in data["categories"]}
    rows: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in data["images"]}
    for row in data["annotations"]:
        rows[row["image_id"]].append(row)
    return [read_shot(folder, image, rows[image["id"]], names) for image in images]


def read_shot(
    folder: Path, image: Mapping[str, Any], rows: list[dict[str, Any]], names: Mapping[int, str]
) -> Shot:
    rows = [row for row in rows if names[row["category_id"]] in CLASSES]
    bgr = cv2.imread(str(folder / "images" / image["file_name"]))
    if bgr is None:
        raise SystemExit(f"{folder}: cannot read images/{image['file_name']}")
    xywh = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
    labels = FrameLabels(
        xyxy=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1),
        class_id=np.array([CLASSES.index(names[row["category_id"]]) for row in rows], np.int32),
        track_id=np.full(len(rows), -1, np.int64),
        is_ignored=np.array([bool(row.get("iscrowd")) for row in rows], np.bool_),
    )
    key = (f"{folder.name}/{image.get('source', '')}", int(image["id"]))
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return Shot(key, rgb, labels, frozenset(image.get("labelled", CLASSES)))


def letterbox(image: np.ndarray, size: tuple[int, int]) -> tuple[torch.Tensor, float]:
    """uint8 [H, W, 3] at the top left of a picture of this size, and its scale."""
    h, w = image.shape[:2]
    scale = min(size[0] / w, size[1] / h)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(image, (round(w * scale), round(h * scale)), interpolation=how)
    canvas = np.full((size[1], size[0], 3), LETTERBOX_FILL, np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    return torch.from_numpy(canvas), scale


# Accuracy


def sv_tiny(args: argparse.Namespace, size: tuple[int, int], **settings: Any) -> Model:
    weights, threads = args.weights, args.threads
    config = EncoderConfig(weights=weights, threads=threads, input_size=size, **settings)
    encoder = build_encoder(config)
    return Model(f"sv_tiny {size[0]}x{size[1]}", size, encoder, weak(DetectorConfig(), encoder))


def yolox(args: argparse.Namespace) -> Model:
    encoder: Any = NoEncoder()
    detector = weak(DetectorConfig(onnx=args.onnx), encoder)
    return Model("yolox_nano 416x416", YOLOX_SIZE, encoder, detector)


def weak(config: DetectorConfig, encoder: Encoder) -> Detector:
    """Down to the metrics' floor: average precision needs the whole curve."""
    return build_detector(config.model_copy(update={"score": FLOOR}), encoder)


def accuracy(shots: Sequence[Shot], args: argparse.Namespace) -> dict[str, Any]:
    """AP50 by class, with the 95 % interval of a bootstrap over blocks of pictures."""
    models = [sv_tiny(args, EQUAL_PIXELS), sv_tiny(args, (640, 384)), yolox(args)]
    found = {model.name: find_all(model, shots) for model in models}
    rows: dict[str, Any] = {}
    for group in GROUPS:
        labels = labels_of(shots, group)
        if group not in present(labels):
            continue
        matches = {name: match_detections(labels, f, group) for name, f in found.items()}
        spread = intervals(matches, draws=args.draws, block_frames=BLOCK).intervals
        rows[group] = {"pictures": len(labels.frames)}
        for name, match in matches.items():
            score = score_matches(match)
            rows[group] |= {"boxes": score.num_boxes, name: round(score.AP50, 3)}
            if "AP50" in spread.get(name, {}):
                rows[group][name + " interval95"] = spread[name]["AP50"].to_list()
    rows["mean of the classes"] = {
        name: mean_ap([row[name] for group, row in rows.items() if group in CLASSES])
        for name in found
    }
    return rows


def mean_ap(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 3)


def find_all(model: Model, shots: Sequence[Shot]) -> Found:
    return {shot.key: model.find(shot.image) for shot in shots}


def labels_of(shots: Sequence[Shot], group: str) -> DriveLabels:
    """Pictures in which the group's every object is marked. Vehicles are told apart where all
    three kinds are labelled only: `car` alone may mean any of them."""
    wanted = set(VEHICLES) if group in (*VEHICLES, "vehicle") else {group}
    kept = {shot.key: shot for shot in shots if wanted <= shot.labelled}
    sizes = {key[0]: shot.image.shape[1::-1] for key, shot in kept.items()}
    return DriveLabels(Path(), {key: shot.labels for key, shot in kept.items()}, sizes)


def present(labels: DriveLabels) -> set[str]:
    """Groups with a counted label."""
    return {group for group, members in GROUPS.items() if set(members) & set(labels.classes)}


def mean_ap50(shots: Sequence[Shot], found: Found) -> float:
    """Over the classes that have labels."""
    return mean_ap([score_matches(match).AP50 for match in class_matches(shots, found).values()])


def class_matches(shots: Sequence[Shot], found: Found) -> dict[str, Matches]:
    labels = {name: labels_of(shots, name) for name in CLASSES}
    return {
        name: match_detections(some, found, name)
        for name, some in labels.items()
        if name in some.classes
    }


# Calibration


def calibrate(shots: Sequence[Shot], args: argparse.Namespace) -> dict[str, Any]:
    """A scale and a bias for each class's logit. The errors after it are of pictures it was not
    fitted on: each half is judged by the map of the other. `--save` puts the map that is fitted
    on all of them into the manifest."""
    if load_bundle(args.weights).manifest.calibration is not None and not args.save:
        raise SystemExit("these weights are calibrated; --save fits them anew")
    path = (args.weights or BUNDLED).with_suffix(".json")
    if args.save:
        set_calibration(path, None)
    found = find_all(sv_tiny(args, (640, 384)), shots)
    names = [f"{shot.key}" for shot in shots]
    halves = [[s for s, n in zip(shots, names, strict=True) if is_odd(n) == odd] for odd in (0, 1)]
    fits = [fit_classes(half, found) for half in halves]
    rows: dict[str, Any] = {}
    before: dict[str, list[tuple[Matches, Matches]]] = {name: [] for name in CLASSES}
    for half, other in zip(halves, reversed(fits), strict=True):
        for name, match in class_matches(half, found).items():
            before[name].append((match, apply_map(match, *other[name])))
    whole = fit_classes(shots, found)
    for name, pairs in before.items():
        if pairs:
            rows[name] = {
                "detections": sum(len(match.score) for match, _ in pairs),
                "ece": mean_ece([match for match, _ in pairs]),
                "ece_calibrated": mean_ece([match for _, match in pairs]),
                "scale": round(whole[name][0], 3),
                "bias": round(whole[name][1], 3),
            }
    if args.save:
        scale, bias = zip(*(whole[name] for name in CLASSES), strict=True)
        set_calibration(path, CalibrationMap(scale=scale, bias=bias))
    return rows


def is_odd(name: str) -> bool:
    """A coin that falls the same way every time, for one picture in ten together: neighbours are
    alike."""
    source, _, number = name.partition(",")
    return (sum(source.encode()) + int(number.strip(" )")) // 10) % 2 == 1


def fit_classes(shots: Sequence[Shot], found: Found) -> dict[str, tuple[float, float]]:
    """A class with few detections gets the map of all together: left as it is, it would outshout
    the others in the same cell."""
    judged = {name: judge(match) for name, match in class_matches(shots, found).items()}
    pooled = fit(*(np.concatenate(column) for column in zip(*judged.values(), strict=True)))
    return {
        name: fit(*judged[name])
        if name in judged and len(judged[name][0]) >= MIN_DETECTIONS and judged[name][1].any()
        else pooled
        for name in CLASSES
    }


def judge(match: Matches) -> tuple[np.ndarray, np.ndarray]:
    """Logits of the detections, and which are right at IoU 0.50."""
    judged = ~match.ignored[0, IOU_50]
    return logit(match.score[judged]), match.label[0, IOU_50, judged] >= 0


def fit(x: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Platt's scaling, drawn a little towards leaving all as it is."""
    sign = np.where(right, -1.0, 1.0)

    def loss(theta: np.ndarray) -> float:
        log_scale, bias = theta
        z = np.exp(log_scale) * x + bias
        return float(np.logaddexp(0, sign * z).sum() + log_scale**2 + 0.1 * bias**2)

    log_scale, bias = minimize(loss, np.zeros(2), method="Nelder-Mead").x
    return float(np.exp(log_scale)), float(bias)


def apply_map(match: Matches, scale: float, bias: float) -> Matches:
    """The same matches under the map: it keeps the order."""
    return replace(match, score=1 / (1 + np.exp(-(scale * logit(match.score) + bias))))


def logit(score: np.ndarray) -> np.ndarray:
    score = score.clip(1e-6, 1 - 1e-6)
    return np.asarray(np.log(score / (1 - score)))


def mean_ece(matches: Sequence[Matches]) -> float:
    """Of the parts, weighted by their detections that `streamvis eval` looks at."""
    kept = [int((match.score >= FLOOR).sum()) for match in matches]
    errors = [reliability(match).ece for match in matches]
    return round(float(np.average(errors, weights=np.maximum(kept, 1))), 4)


def set_calibration(path: Path, calibration: CalibrationMap | None) -> None:
    manifest = json.loads(path.read_text())
    manifest["calibration"] = calibration.model_dump() if calibration else None
    path.write_text(json.dumps(manifest, indent=2) + "\n")


# Settings


def tiling(args: argparse.Namespace) -> dict[str, Any]:
    """Tiles of little worth on the cheap path: share kept, accuracy, time. With --drive by
    `streamvis eval`'s own code there; else on the pictures that settings are chosen on."""
    models = {w: sv_tiny(args, EQUAL_PIXELS, min_worth=w) for w in (0.0, *args.min_worth)}
    if args.drive:
        return drive_tiling(args)
    shots, now = tuning_shots(args), clock()
    found: dict[float, Found] = {worth: {} for worth in models}
    times: dict[float, list[float]] = {worth: [] for worth in models}
    shares: dict[float, list[float]] = {worth: [] for worth in models}
    for number, shot in enumerate(shots):
        for worth, model in list(models.items())[:: 1 if number % 2 else -1]:
            began = now()
            found[worth][shot.key] = model.find(shot.image)
            times[worth].append(now() - began)
            shares[worth].append(costly_share(model, shot.image, worth))
    dense = mean_ap50(shots, found[0.0])
    return {
        f"min_worth {worth:g}": {
            "costly tiles": round(float(np.mean(shares[worth])), 3),
            "mean AP50": (ap := mean_ap50(shots, found[worth])),
            "of dense": round(ap / dense, 3) if dense else None,
            "ms with letterbox": round(statistics.median(times[worth]) * 1e3, 2),
        }
        for worth in models
    }


def costly_share(model: Model, image: np.ndarray, min_worth: float) -> float:
    """Of the tiles that hold some of the picture: the bars of the letter-box are no saving."""
    canvas, scale = letterbox(image, model.size)
    rows, cols = (-(-round(side * scale) // 64) for side in image.shape[:2])
    worth = worth_of(model.encoder, canvas)[:rows, :cols]
    return float((worth >= min_worth).mean())


@torch.inference_mode()
def worth_of(encoder: Encoder, canvas: torch.Tensor) -> np.ndarray:
    """[rows, cols] in [0, 1]"""
    assert isinstance(encoder, SvTinyEncoder)
    _, _, worth = encoder._network.look(to_patches(canvas[None], encoder.tile_px))
    found: np.ndarray = worth.sigmoid().view(encoder._grid).numpy()
    return found


def drive_tiling(args: argparse.Namespace) -> dict[str, Any]:
    """`streamvis eval DRIVE` with one config for each setting, in turns."""
    configs = [
        EvalConfig(
            name=f"worth{round(100 * worth)}",
            encoder=EncoderConfig(weights=args.weights, threads=args.threads, min_worth=worth),
        )
        for worth in (0.0, *args.min_worth)
    ]
    with tempfile.TemporaryDirectory() as folder:
        options = Options(Path(folder), tuple(args.cameras), args.max_frames)
        evaluation = Evaluation(args.drive, configs, options)
        evaluation.run(lambda _done, _total: None)
        result = evaluation.score(lambda _stage: None).to_dict()
    shares = drive_shares(args, configs)
    first = result["configs"]["worth0"]["detection"]
    return {
        f"min_worth {config.encoder.min_worth:g}": {
            "costly tiles": shares[config.name],
            **{
                f"{group} AP50": result["configs"][config.name]["detection"][group]["AP50"]
                for group in first
            },
            "encode ms": result["configs"][config.name]["cost"]["encode_ms"]["p50"],
        }
        for config in configs
    }


def drive_shares(args: argparse.Namespace, configs: Sequence[EvalConfig]) -> dict[str, float]:
    from streamvis.eval.evaluate import choose_footage
    from streamvis.eval.rounds import RoundReader

    footage, _ = choose_footage(args.drive, args.cameras, args.max_frames)
    encoder = build_encoder(configs[0].encoder)
    worth = []
    for number, each in enumerate(RoundReader(footage, encoder.input_size)):
        if number % 4 == 0:  # they are alike
            frames = [timed.frame for timed in each.frames]
            worth += [worth_of(encoder, torch.from_numpy(f.image)) for f in frames]
    seen = np.stack(worth)
    return {c.name: round(float((seen >= c.encoder.min_worth).mean()), 3) for c in configs}


def nested(args: argparse.Namespace) -> dict[str, Any]:
    """Suppression: its overlap, and boxes inside surer ones."""
    shots, model = tuning_shots(args), sv_tiny(args, (640, 384))
    assert isinstance(model.encoder, SvTinyEncoder)
    settings = [(iou, inside) for iou in (0.4, 0.5, 0.6) for inside in (1.0, 0.95, 0.85, 0.75)]
    detectors = {
        (iou, inside): HeadDetector(
            DetectorConfig(score=FLOOR, nms_iou=iou, max_inside=inside), model.encoder
        )
        for iou, inside in settings
    }
    found: dict[tuple[float, float], Found] = {setting: {} for setting in settings}
    for shot in shots:
        canvas, scale = letterbox(shot.image, model.size)
        features = model.encoder.encode_full(canvas[None])
        for setting, detector in detectors.items():
            one = detector.detect(canvas[None], features)[0]
            found[setting][shot.key] = one.with_boxes(one.xyxy / np.float32(scale))
    return {
        f"nms_iou {iou:g}, max_inside {inside:g}": {
            "mean AP50": mean_ap50(shots, found[iou, inside]),
            "false per picture at 0.3": false_share(shots, found[iou, inside]),
        }
        for iou, inside in settings
    }


def false_share(shots: Sequence[Shot], found: Found) -> float:
    """Detections of labelled classes that match nothing, of those `detector.score` lets out."""
    false = 0
    for match in class_matches(shots, found).values():
        sure = match.score >= DetectorConfig().score
        false += int((sure & (match.label[0, IOU_50] < 0) & ~match.ignored[0, IOU_50]).sum())
    return round(false / len(shots), 3)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = ("latency", "profile", "held-out", "synthetic", "calibrate", "tiling", "nested")
    parser.add_argument("verb", choices=verbs)
    parser.add_argument("--weights", type=Path, help="another bundle of sv_tiny")
    parser.add_argument("--onnx", type=Path, default=os.environ.get("STREAMVIS_YOLOX", YOLOX))
    parser.add_argument("--data", type=Path, default=os.environ.get("STREAMVIS_TRAIN_DATA", DATA))
    parser.add_argument(
        "--rendered", type=Path, nargs="*", default=[], help="folders of `synth --labels coco`"
    )
    parser.add_argument("--every", type=int, default=1, help="take each n-th picture, to be quick")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=15, help="of 10 calls each")
    parser.add_argument("--draws", type=int, default=500, help="of the bootstrap")
    parser.add_argument("--min-worth", type=float, nargs="+", default=[0.05, 0.1, 0.2, 0.3])
    parser.add_argument("--drive", type=Path, help="tiling: evaluate on this drive")
    parser.add_argument("--cameras", nargs="+", default=[])
    parser.add_argument("--max-frames", type=int)
    parser.add_argument("--save", action="store_true", help="calibrate: into the manifest")
    parser.add_argument("--write", type=Path, help="put the table into this document")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    return args


if __name__ == "__main__":
    main()
