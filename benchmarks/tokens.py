"""What the semantic tokens are worth: how many codes are used, how steady they are, what they look
at, what can be found again by codes alone, and what all that costs.

    python benchmarks/tokens.py [--weights PATH] [--data FOLDER] [--picture docs/images/tokens.jpg]

FOLDER has drives/ (the real ones); without it only the synthetic street is measured. The picture
is made from the synthetic street only. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streamvis import wire
from streamvis.detect.config import DetectorConfig
from streamvis.detect.detector import build_detector
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import build_encoder
from streamvis.encode.tokenizer import TokenReader, gather_cells
from streamvis.source.video import VideoSource
from streamvis.types import Tokens

STREET = Path(__file__).parents[1] / "pipelines/drives/street"
REAL = {  # below drives/: name, what moves, every n-th frame, at most so many
    "pandaset_002/front.mp4": ("driving", 1, 80),
    "pandaset_002/left.mp4": ("driving", 1, 80),
    "pandaset_002/back.mp4": ("driving", 1, 80),
    "pandaset_002/front_left.mp4": ("driving", 1, 80),
    "udacity/project_video_cut.mp4": ("driving", 3, 80),
    "street_static/street.mp4": ("static", 3, 80),
    "tollroad_day/gantry.mp4": ("static", 1, 80),
}
GALLERY_EVERY_S = 1.0  # queries lie half way between
MOST_USED = 6
PER_CODE = 5
THUMB = (213, 128)  # px


@dataclass
class Film:
    """What was made of one video."""

    motion: str
    times_s: list[float]
    images: list[NDArray[np.uint8]]
    tokens: list[Tokens]
    embeddings: list[NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.tokens)


def main() -> None:
    args = parse_args()
    encoder = build_encoder(EncoderConfig(weights=args.weights, threads=args.threads))
    reader = TokenReader(encoder)

    def watch(path: Path, motion: str, every: int, limit: int) -> Film:
        return film(path, motion, every, limit, encoder, reader)

    films = {f"street/{p.name}": watch(p, "driving", 1, 80) for p in sorted(STREET.glob("*.mp4"))}
    synthetic = dict(films)
    for name, about in REAL.items() if args.data else ():
        films[name] = watch(args.data / "drives" / name, *about)
    report: dict[str, Any] = {
        "weights_sha256": encoder.model.weights_sha256[:12],
        "codes": {name: describe(one) for name, one in films.items()},
        "all": usage(list(films.values())),
        "retrieval": retrieve(films),
        "cost": cost(args, next(iter(films.values()))),
        "load": os.getloadavg()[0],
    }
    if args.picture:
        overlay(synthetic, encoder, reader, args.picture)
    show(report)
    print(json.dumps(report))


def film(
    path: Path, motion: str, every: int, limit: int, encoder: Any, reader: TokenReader
) -> Film:
    """`every` n-th frame of a video through the encoder."""
    out = Film(motion, [], [], [], [])
    video = VideoSource(path, "", encoder.input_size)
    while video.grab() is not None and len(out) < limit:
        frame = video.retrieve(t_ingest_ns=0)
        if frame is None or frame.index % every:
            continue
        features = encoder.encode_full(torch.from_numpy(frame.image[None]))
        out.times_s.append(float(frame.pts * frame.time_base))
        out.images.append(frame.image)
        out.tokens.append(reader.read(features)[0])
        out.embeddings.append(features.embedding[0].float().cpu().numpy())
    video.close()
    return out


# ---------------------------------------------------------------- codes


def describe(one: Film) -> dict[str, Any]:
    step_s = statistics.median(np.diff(one.times_s))
    return {
        "motion": one.motion,
        "frames": len(one),
        **usage([one]),
        "step_s": round(step_s, 3),
        "same_next": steadiness(one, 1),
        "same_after_1s": steadiness(one, max(1, round(1 / step_s))),
        "cosine_next": cosine_next(one),
    }


def usage(films: Sequence[Film]) -> dict[str, Any]:
    """Perplexity: of how many equally frequent codes is this the entropy? Each use counts by the
    share of the picture it stands for."""
    weights = np.zeros(films[0].tokens[0].num_codes)
    for one in films:
        for tokens in one.tokens:
            np.add.at(weights, tokens.codes, tokens.share)
    p = weights[weights > 0] / weights.sum()
    perplexity = float(np.exp(-(p * np.log(p)).sum()))
    return {"perplexity": round(perplexity, 1), "used": len(p), "of": len(weights)}


def steadiness(one: Film, steps: int) -> float:
    """The share of the picture whose slot has the code it had so many steps before."""
    pairs = zip(one.tokens, one.tokens[steps:], strict=False)
    same = [float(new.share[old.codes == new.codes].sum()) for old, new in pairs]
    return round(statistics.mean(same), 3)


def cosine_next(one: Film) -> float:
    """Of the slots' vectors to those of the next frame, weighed as above."""
    pairs = zip(one.tokens, one.tokens[1:], strict=False)
    likeness = [
        float(new.share @ (old.vectors.astype(np.float32) * new.vectors).sum(1))
        for old, new in pairs
    ]
    return round(statistics.mean(likeness), 4)


# ---------------------------------------------------------------- retrieval


def retrieve(films: dict[str, Film]) -> dict[str, Any]:
    """Each query's best match among one frame a second of all videos: is it of the same video, at
    most 0.6 s away? Ties count by chance."""
    gallery, queries = [], []
    for name, one in films.items():
        for i, t in enumerate(one.times_s):
            phase = (t - one.times_s[0]) % GALLERY_EVERY_S
            step = one.times_s[1] - one.times_s[0]
            if min(phase, GALLERY_EVERY_S - phase) < step / 2 - 1e-6:
                gallery.append((name, i))
            elif abs(phase - GALLERY_EVERY_S / 2) < step / 2 + 1e-6:
                queries.append((name, i))
    size = films[next(iter(films))].tokens[0]
    slots, dim = size.vectors.shape
    bits = int(np.ceil(np.log2(size.num_codes)))
    contenders: dict[str, tuple[int, Callable[[Film, int], Any], Callable[[Any, Any], Any]]] = {
        "codes, slot by slot": (slots * bits, _codes, _same_codes),
        "codes, in any order": (slots * bits, _bag, _overlap),
        "token vectors": (slots * dim * 16, _vectors, np.dot),
        "embedding": (len(films[next(iter(films))].embeddings[0]) * 16, _embedding, np.dot),
        "colour histogram": (512 * 16, _colours, _overlap),
    }
    out: dict[str, Any] = {"queries": len(queries), "gallery": len(gallery)}
    correct = [[_is_near(films, query, other) for other in gallery] for query in queries]
    out["chance"] = round(float(np.mean(correct)), 3)
    for name, (num_bits, describe_frame, compare) in contenders.items():
        stored = [describe_frame(films[n], i) for n, i in gallery]
        hits = []
        for (n, i), right in zip(queries, correct, strict=True):
            mine = describe_frame(films[n], i)
            scores = np.array([compare(mine, other) for other in stored])
            hits.append(float(np.mean(np.array(right)[scores >= scores.max() - 1e-9])))
        mean, error = float(np.mean(hits)), float(np.std(hits) / len(hits) ** 0.5)
        out[name] = {
            "bits": num_bits,
            "recall_at_1": round(mean, 3),
            "ci95": round(1.96 * error, 3),
        }
    return out


def _is_near(films: dict[str, Film], one: tuple[str, int], other: tuple[str, int]) -> bool:
    (name, i), (name2, j) = one, other
    return name == name2 and abs(films[name].times_s[i] - films[name].times_s[j]) <= 0.6


def _codes(one: Film, i: int) -> NDArray[np.uint16]:
    return one.tokens[i].codes


def _same_codes(a: NDArray[np.uint16], b: NDArray[np.uint16]) -> int:
    return int((a == b).sum())


def _bag(one: Film, i: int) -> NDArray[np.float64]:
    """How often each code occurs."""
    return np.bincount(one.tokens[i].codes, minlength=one.tokens[i].num_codes).astype(float)


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.minimum(a, b).sum())


def _vectors(one: Film, i: int) -> NDArray[np.float32]:
    return one.tokens[i].vectors.astype(np.float32).ravel()


def _embedding(one: Film, i: int) -> NDArray[np.float32]:
    return one.embeddings[i]


def _colours(one: Film, i: int) -> NDArray[np.float64]:
    histogram = cv2.calcHist([one.images[i]], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3)
    return np.asarray(histogram.ravel() / histogram.sum(), float)


# ---------------------------------------------------------------- cost


def cost(args: argparse.Namespace, one: Film) -> dict[str, Any]:
    """CPU ms of a frame, dense, medians of turns: the encoder and head, and the tokens on top. With
    one thread other programs disturb them little. The bytes are those of a message's arrays."""
    encoder = build_encoder(EncoderConfig(weights=args.weights, threads=args.threads))
    detector = build_detector(DetectorConfig(), encoder)
    reader = TokenReader(encoder)
    images = torch.from_numpy(one.images[0][None])
    times: defaultdict[str, list[float]] = defaultdict(list)
    for turn in range(args.turns + 5):
        t0 = time.process_time()
        features = encoder.encode_full(images)
        detector.detect(images, features)
        t1 = time.process_time()
        (tokens,) = reader.read(features)
        t2 = time.process_time()
        if turn >= 5:
            times["encode_and_detect_cpu_ms"].append((t1 - t0) * 1000)
            times["tokens_cpu_ms"].append((t2 - t1) * 1000)
    arrays = (tokens.vectors, tokens.codes, tokens.xyxy, tokens.share)
    return {
        **{name: round(statistics.median(values), 3) for name, values in times.items()},
        "threads": torch.get_num_threads(),
        "wire": ".".join(map(str, wire.VERSION)),
        "message_bytes": sum(array.nbytes for array in arrays),
        "parameters": sum(p.numel() for p in reader.network.parameters()),
    }


# ---------------------------------------------------------------- the picture


def overlay(films: dict[str, Film], encoder: Any, reader: TokenReader, path: Path) -> None:
    """A row for each of the most used codes: where it looks, in frames far apart, brightest where
    its slots' attention is; the rectangle is the attention box."""
    weights: defaultdict[int, float] = defaultdict(float)
    uses: defaultdict[int, list[tuple[float, str, int, int]]] = defaultdict(list)
    for name, one in films.items():
        for i, tokens in enumerate(one.tokens):
            for s, (code, share) in enumerate(zip(tokens.codes, tokens.share, strict=True)):
                weights[int(code)] += float(share)
                uses[int(code)].append((float(share), name, i, s))
    rows = []
    for code in sorted(weights, key=lambda code: -weights[code])[:MOST_USED]:
        cells = [draw_use(films[n], i, s, encoder, reader) for _, n, i, s in choose(uses[code])]
        cells += [np.zeros_like(cells[0])] * (PER_CODE - len(cells))
        row = np.hstack(cells)
        cv2.putText(row, f"code {code}", (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255,) * 3, 1)
        rows.append(row)
    bgr = cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, 80])


def choose(uses: list[tuple[float, str, int, int]]) -> list[tuple[float, str, int, int]]:
    """Uses of a code from different cameras first, then far apart in time; those that stand for
    most of the picture."""
    chosen: list[tuple[float, str, int, int]] = []
    for gap in (1000, 30, 10):
        for use in sorted(uses, reverse=True):
            far = all(use[1] != o[1] or abs(use[2] - o[2]) >= gap for o in chosen)
            if far and use not in chosen and len(chosen) < PER_CODE:
                chosen.append(use)
    return chosen


def draw_use(one: Film, i: int, s: int, encoder: Any, reader: TokenReader) -> NDArray[np.uint8]:
    image = one.images[i]
    with torch.inference_mode():
        cells = gather_cells(encoder.encode_full(torch.from_numpy(image[None])))
        attention = reader.network(cells).attention[0, s].cpu().numpy()
    mask = cv2.resize(attention, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    lit = (image * (0.25 + 0.75 * np.clip(mask * 1.5, 0, 1))).astype(np.uint8)
    x0, y0, x1, y1 = one.tokens[i].xyxy[s].round().astype(int).tolist()
    cv2.rectangle(lit, (x0, y0), (x1, y1), (255, 220, 60), 3)
    return np.asarray(cv2.resize(lit, THUMB, interpolation=cv2.INTER_AREA), np.uint8)


def show(report: dict[str, Any]) -> None:
    print(f"{'video':<32}{'motion':<9}{'perplexity':>11}{'same next':>11}{'after 1 s':>11}")
    for name, row in report["codes"].items():
        print(
            f"{name:<32}{row['motion']:<9}{row['perplexity']:>11}{row['same_next']:>11}"
            f"{row['same_after_1s']:>11}"
        )
    print(f"all videos: {report['all']}")
    for name, row in report["retrieval"].items():
        print(f"  {name:<22}{row}")
    print(report["cost"])


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=100)
    return parser.parse_args()


if __name__ == "__main__":
    main()
