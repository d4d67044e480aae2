"""What the embeddings are good for, beside colour histograms and an untrained encoder.

    python benchmarks/embeddings.py [--weights PATH] [--data FOLDER] [--towns FOLDER] [--json]

objects     the same object a second later, among all objects of the drive: top-1
places      the same place at another time: recall@1
attributes  time of day and weather of rendered pictures, by their 5 nearest neighbours
cost        ms of one thread, beside the encoder's

`--data` is the folder with train/ and drives/ (tests only: pandaset_002, tollroad_day). `--towns`
has rendered drives that nothing was trained on, one town in two weathers each, and pictures:
    streamvis synth TOWNS/e601_day --seed 601 --weather day --seconds 6 --fps 4 --size 640x384
        --samples 1 --cameras front --no-frame-code                 (and dusk; 602: overcast, night)
    streamvis synth TOWNS/knn --seed 651 --frames 160 --labels coco --size 640x384
What is not there is left out. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streamvis.encode.config import EncoderConfig
from streamvis.encode.embedder import (
    PART,
    ClipWindow,
    Embedder,
    EmbeddingReader,
    pool_objects,
    pool_picture,
)
from streamvis.encode.encoder import build_encoder
from streamvis.encode.sv_tiny_encoder import SvTinyEncoder
from streamvis.encode.weights import save_bundle
from streamvis.source.drive import Drive
from streamvis.train.network import Network
from streamvis.train.shots import SceneConfig, Shot, load_shots
from streamvis.types import Detections

REPO = Path(__file__).parents[1]
SIZE = (640, 384)
K = 5
Vectors = NDArray[np.float32]  # [rows, dim], L2 norm 1
Said = dict[str, list[Vectors]]  # by scope, one array a shot: [1, dim], objects [N, dim]


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        contenders = make_contenders(args.weights, Path(folder))
    report: dict[str, Any] = {"load": os.getloadavg()[0], "weights": contenders[0].name}
    parts: dict[str, Callable[[], Any]] = {
        "objects": lambda: objects(contenders, args),
        "places": lambda: places(contenders, args),
        "attributes": lambda: attributes(contenders, args),
        "cost": lambda: cost(args.weights),
    }
    for name in args.only or parts:
        report[name] = parts[name]()
        show(name, report[name])
    print(json.dumps(report))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data", type=Path, default=REPO.parent / "shared/data")
    parser.add_argument("--towns", type=Path, default=REPO / "out/synth/embed")
    parser.add_argument("--gallery", type=Path, nargs="*", default=[REPO / "out/synth/t1"])
    parser.add_argument("--only", nargs="*", choices=("objects", "places", "attributes", "cost"))
    return parser.parse_args()


def show(name: str, rows: Mapping[str, Any]) -> None:
    print(f"\n{name}")
    for row, value in rows.items():
        print(f"  {row:<50}{json.dumps(value)}", flush=True)


# ---------------------------------------------------------------- contenders


class Trained:
    """What a pipeline publishes."""

    def __init__(self, weights: Path | None) -> None:
        self.encoder = build_encoder(EncoderConfig(weights=weights, input_size=SIZE, threads=1))
        self.reader = EmbeddingReader(self.encoder)
        self.name = self.encoder.model.weights_sha256[:12]

    def describe(self, shots: Sequence[Shot]) -> Said:
        said: Said = {"frame": [], "pyramid": [], "object": [], "clip": []}
        windows: dict[Hashable, ClipWindow] = {}
        for shot in shots:
            image = torch.from_numpy(shot.image)[None]
            features = self.encoder.encode_full(image)
            ((frame, more),) = self.reader.read(image, features, [as_detections(shot)])
            window = windows.setdefault(shot.series, ClipWindow())
            window.push(round(shot.t_s * 1e9), frame)
            assert more.pyramid is not None
            assert more.objects is not None
            said["frame"].append(frame[None])
            said["pyramid"].append(more.pyramid.astype(np.float32).reshape(1, -1) / 3**0.5)
            said["object"].append(more.objects.astype(np.float32))
            said["clip"].append(self.reader.read_clip(window)[None].astype(np.float32))
        return said


class Pooled:
    """The encoder's features, pooled and put in the middle, and nothing learned on top."""

    def __init__(self, weights: Path | None, name: str) -> None:
        self.encoder = build_encoder(EncoderConfig(weights=weights, input_size=SIZE, threads=1))
        self.name = name

    @torch.inference_mode()
    def describe(self, shots: Sequence[Shot]) -> Said:
        frames, objects = [], []
        for shot in shots:
            image = torch.from_numpy(shot.image)[None]
            features = self.encoder.encode_full(image)
            pooled = pool_objects(image, features, [torch.from_numpy(shot.xyxy)])
            frames.append(pool_picture(features).numpy())
            rows = torch.cat([pooled.cells.mean(2).flatten(1), pooled.around], 1)
            objects.append(rows.numpy())
        return {"frame": centred(frames), "object": centred(objects)}


class Colour:
    """Histograms of 8 x 8 x 8 colours, compared by Hellinger's distance."""

    name = "colour histogram"

    def describe(self, shots: Sequence[Shot]) -> Said:
        return {
            "frame": [histogram(shot.image)[None] for shot in shots],
            "object": [np.stack([np.zeros(512), *map(histogram, crops(shot))])[1:].astype("f4")
                       for shot in shots],
        }  # fmt: skip


Contender = Trained | Pooled | Colour


def make_contenders(weights: Path | None, folder: Path) -> list[Contender]:
    torch.manual_seed(0)
    network = Network()
    parts = {"encoder": network.encoder, "head": network.head, PART: Embedder(network.arch)}
    save_bundle(folder / "untrained.safetensors", parts, network.arch, {})
    return [
        Trained(weights),
        Pooled(weights, "its encoder, pooled"),
        Pooled(folder / "untrained.safetensors", "untrained encoder, pooled"),
        Colour(),
    ]


def as_detections(shot: Shot) -> Detections:
    count = len(shot.xyxy)
    return Detections.make(shot.xyxy, np.ones(count, np.float32), np.zeros(count, np.int32))


def centred(arrays: Sequence[NDArray[Any]]) -> list[Vectors]:
    """Each value by its mean and deviation over all rows, rows of norm 1."""
    rows = np.concatenate(arrays)
    mean, deviation = rows.mean(0), rows.std(0) + 1e-6
    scaled = [(array - mean) / deviation for array in arrays]
    norms = [np.linalg.norm(array, axis=1, keepdims=True) + 1e-9 for array in scaled]
    return [(a / n).astype(np.float32) for a, n in zip(scaled, norms, strict=True)]


def crops(shot: Shot) -> list[NDArray[np.uint8]]:
    boxes = shot.xyxy.round().astype(int)
    return [shot.image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] for x0, y0, x1, y1 in boxes]


def histogram(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    counts = cv2.calcHist([image], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3).ravel()
    root: NDArray[np.float32] = np.sqrt(counts / max(1.0, counts.sum()))
    return root


# ---------------------------------------------------------------- figures


def objects(contenders: Sequence[Contender], args: argparse.Namespace) -> dict[str, Any]:
    """Top-1 over all (object, time) that are seen again a second later."""
    drives = {
        "street (synthetic)": (REPO / "pipelines/drives/street", 5),
        "pandaset_002": (args.data / "drives/pandaset_002", 2),
    }
    report = {}
    for name, (folder, every) in drives.items():
        if folder.is_dir():
            shots = list(load_shots([SceneConfig(drive=folder, every=every)], SIZE, Path()))
            for contender in contenders:
                said = contender.describe(shots)["object"]
                label = "object" if isinstance(contender, Trained) else contender.name
                report[f"{name}: {label}"] = a_second_later(shots, said)
    return report


def a_second_later(shots: Sequence[Shot], said: Sequence[Vectors]) -> dict[str, float]:
    keys = [(shot.series, thing) for shot in shots for thing in shot.things]
    t_s = np.array([shot.t_s for shot in shots for _ in shot.things])
    vectors = np.concatenate(said)
    rows_of: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        rows_of.setdefault(key, []).append(row)
    hits: list[bool] = []
    for query, key in enumerate(keys):
        gallery = [
            min(rows, key=lambda row: abs(t_s[row] - t_s[query] - 1.0)) for rows in rows_of.values()
        ]
        own = list(rows_of).index(key)
        if abs(t_s[gallery[own]] - t_s[query] - 1.0) < 0.05:
            hits.append(int((vectors[gallery] @ vectors[query]).argmax()) == own)
    return {"top1": share(hits), "queries": len(hits), "objects": len(rows_of)}


def places(contenders: Sequence[Contender], args: argparse.Namespace) -> dict[str, Any]:
    report: dict[str, Any] = {}
    towns = sorted(args.towns.glob("e6*_*")) if args.towns.is_dir() else []
    tests: dict[str, tuple[list[Shot], Callable[[Sequence[Shot]], tuple[Any, Any]]]] = {}
    if towns:
        tests["towns, other weather"] = (read_drives(towns), other_weather)
    toll, train = args.data / "drives/tollroad_day", args.data / "train"
    if toll.is_dir():
        days = [*read_drives([toll], every=12), *load_shots([scene(train, 500)], SIZE, Path())]
        tests["toll road, other day"] = (days, other_day(train))
    for name, (shots, judge) in tests.items():
        for contender in contenders:
            for scope, said in contender.describe(shots).items():
                if scope != "object":
                    label = scope if isinstance(contender, Trained) else contender.name
                    report[f"{name}: {label}"] = recall(np.concatenate(said), *judge(shots))
    return report


def recall(vectors: Vectors, may: NDArray[np.bool_], right: NDArray[np.bool_]) -> dict[str, float]:
    """`may` [Q, R]: what each row may be answered with; `right`: what is a right answer."""
    asks = (may & right).any(1)
    nearest = np.where(may, vectors @ vectors.T, -np.inf)[asks].argmax(1)
    hits = right[asks, nearest]
    chance = (right & may)[asks].sum(1) / may[asks].sum(1)
    return {"recall1": share(hits), "queries": len(hits), "chance": round(float(chance.mean()), 3)}


def other_weather(shots: Sequence[Shot]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The town at most half a second of driving away, in the other weather; any town may answer."""
    series, t_s = [shot.series for shot in shots], np.array([shot.t_s for shot in shots])
    town = [shot.place for shot in shots]
    apart = np.array([[a != b for b in series] for a in series])
    same = np.array([[a == b for b in town] for a in town])
    weather = [Path(str(s[0])).name.split("_", 1)[1] for s in series]  # type: ignore[index]
    lit = np.array([[a != b for b in weather] for a in weather])
    return apart & lit, same & (np.abs(t_s[:, None] - t_s) <= 0.5)


def other_day(train: Path) -> Callable[[Sequence[Shot]], tuple[Any, Any]]:
    """Frames of tollroad_day ask; the training pictures answer, of which some show the same road
    on another day."""
    images = json.loads((train / "annotations.json").read_text())["images"]
    images.sort(key=lambda image: image["file_name"])

    def judge(shots: Sequence[Shot]) -> tuple[Any, Any]:
        is_query = np.array([shot.place == shots[0].place for shot in shots])
        sources = pictures_taken(images, int((~is_query).sum()))
        is_road = np.array([False] * int(is_query.sum()) + [s.startswith("toll") for s in sources])
        return is_query[:, None] & ~is_query, np.tile(is_road, (len(shots), 1))

    return judge


def pictures_taken(images: Sequence[Mapping[str, Any]], count: int) -> list[str]:
    from streamvis.train.pictures import split

    kept = [image["source"] for image in split(list(images), 0.0)[0]]
    step = -(-len(kept) // 500)
    taken = kept[::step]
    assert len(taken) == count
    return taken


def attributes(contenders: Sequence[Contender], args: argparse.Namespace) -> dict[str, Any]:
    """Votes of the 5 nearest pictures of other towns."""
    asked = args.towns / "knn"
    if not asked.is_dir():
        return {}
    folders = [asked, *(folder for folder in args.gallery if folder.is_dir())]
    shots = list(chain.from_iterable(load_shots([scene(f)], SIZE, Path()) for f in folders))
    about = [image["scene"] for folder in folders for image in coco_images(folder)]
    num_asked = len(coco_images(asked))
    report: dict[str, Any] = {}
    for name in ("time_of_day", "weather"):
        values = np.array([row[name] for row in about])
        truth, known = values[:num_asked], values[num_asked:]
        kinds, counts = np.unique(known, return_counts=True)
        report[f"{name}: always {kinds[counts.argmax()]}"] = share(truth == kinds[counts.argmax()])
    for contender in contenders:
        for scope, said in contender.describe(shots).items():
            if scope not in ("object", "clip"):
                vectors = np.concatenate(said)
                near = (-(vectors[:num_asked] @ vectors[num_asked:].T)).argsort(1)[:, :K]
                label = scope if isinstance(contender, Trained) else contender.name
                for name in ("time_of_day", "weather"):
                    values = np.array([row[name] for row in about])
                    votes = [vote(values[num_asked:][rows]) for rows in near]
                    report[f"{name}: {label}"] = share(np.array(votes) == values[:num_asked])
    return report


def vote(values: NDArray[Any]) -> str:
    kinds, counts = np.unique(values, return_counts=True)
    return str(kinds[counts.argmax()])


def cost(weights: Path | None) -> dict[str, float]:
    """Medians of 40 turns, CPU time of one thread, a picture with 12 objects."""
    ours = Trained(weights)
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (1, SIZE[1], SIZE[0], 3), np.uint8))
    corner = rng.uniform(0, 300, (12, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(15, 80, (12, 2))], 1).astype(np.float32)
    found = [Detections.make(boxes, np.ones(12, np.float32), np.zeros(12, np.int32))]
    assert isinstance(ours.encoder, SvTinyEncoder)
    features = ours.encoder.encode_full(image)
    readers = {
        "+".join(["frame", *scopes]): EmbeddingReader(ours.encoder, scopes)
        for scopes in ((), ("pyramid",), ("object",), ("pyramid", "object"))
    }
    window = ClipWindow()
    for i in range(30):
        window.push(i * 60_000_000, rng.normal(size=256).astype(np.float32))
    calls: dict[str, Callable[[], Any]] = {"encoder": lambda: ours.encoder.encode_full(image)}
    calls |= {
        name: (lambda r=reader: r.read(image, features, found)) for name, reader in readers.items()
    }
    calls["clip"] = lambda: ours.reader.read_clip(window)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(40):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            times[name].append(time.thread_time() - start)
    return {name: round(float(np.median(values)) * 1e3, 2) for name, values in times.items()}


# ---------------------------------------------------------------- pieces


def scene(folder: Path, most: int = 1_000_000) -> SceneConfig:
    return SceneConfig(coco=folder, most=most)


def coco_images(folder: Path) -> list[dict[str, Any]]:
    images: list[dict[str, Any]] = json.loads((folder / "annotations.json").read_text())["images"]
    return sorted(images, key=lambda image: str(image["file_name"]))


def read_drives(folders: Sequence[Path], every: int = 1) -> list[Shot]:
    for folder in folders:
        Drive(folder)  # a clear error if it is not one
    return list(load_shots([SceneConfig(drive=f, every=every) for f in folders], SIZE, Path()))


def share(hits: Sequence[bool] | NDArray[np.bool_]) -> float:
    return round(float(np.mean(hits)), 3) if len(hits) else float("nan")


if __name__ == "__main__":
    main()
