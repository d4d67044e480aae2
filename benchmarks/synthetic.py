"""How true the synthetic street's labels are, how much of it changes, how real it looks.

    python benchmarks/synthetic.py [--onnx yolox_nano.onnx] [--seeds 21 23 26] [--sheet FILE.jpg]

Every figure of docs/synthetic.md. `--onnx` adds the recall of a detector trained on real pictures
only; `--sheet` draws six scenes by four cameras. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch

from streamvis.detect.config import DetectorConfig
from streamvis.detect.onnx_detector import OnnxDetector
from streamvis.source.synth.drive import DEFAULT_CRF, CameraFile
from streamvis.source.synth.flow import flow_to_next
from streamvis.source.synth.render.renderer import Film
from streamvis.source.synth.scene import RenderedFrame, SceneConfig, StreetScene
from streamvis.types import CLASSES

STREET = Path(__file__).parents[1] / "pipelines/drives/street"
SIZE = {"width": 960, "height": 540}
TILE_PX, CHANGED = 32, 3.0  # as in the project's measurements of real drives: luma, mean per tile
REAL_SPEED = 4.0, 5.6  # m/s, of the real drive that the moving tiles are held against
MIN_HEIGHT_PX, MIN_VISIBLE = 40, 0.5
SHEET = (
    (28, "day", 40), (17, "low_sun", 45), (27, "overcast", 60),
    (21, "dusk", 40), (13, "night", 45), (23, "rain", 40),
)  # fmt: skip


def main() -> None:
    args = parse_args()
    report: dict[str, Any] = {"size": SIZE, "seeds": args.seeds}
    report["tightness"] = tightness(args.seeds[0])
    report["flow_warp_grey_levels"] = flow_error(args.seeds)
    report["changed_tiles_percent"] = {d.name: changed_tiles(d) for d in args.drives}
    report["changed_tiles_percent"]["at_real_speed"] = moving_tiles(args.seeds)
    report["cpu_s_per_720p_frame"] = cpu_seconds(args.seeds[0])
    if args.onnx:
        report["recall"] = recall(args.onnx, args.seeds)
    if args.sheet:
        contact_sheet(args.sheet)
    print(json.dumps(report))


def tightness(seed: int) -> dict[str, float]:
    """IoU of boxes with the extent of the same ids drawn at twice the resolution."""
    config = SceneConfig(seed=seed, num_frames=60, **SIZE, film=Film(samples=1))
    fine = StreetScene(replace(config, width=2 * config.width, height=2 * config.height))
    plain, overlaps = StreetScene(config), []
    for camera in config.cameras:
        large = {o.track_id: o for o in fine.render(camera, 30).objects}
        for found in plain.render(camera, 30).objects:
            is_high = found.xyxy[3] - found.xyxy[1] > MIN_HEIGHT_PX
            if is_high and found.track_id in large:
                box = np.array(large[found.track_id].xyxy) / 2
                overlaps.append(iou(np.array(found.xyxy, float), box))
    shares = np.array(overlaps)
    return {
        "boxes": len(shares),
        "iou_median": round(float(np.median(shares)), 3),
        "iou_p10": round(float(np.percentile(shares, 10)), 3),
    }


def flow_error(seeds: list[int]) -> dict[str, float]:
    """Grey levels between a frame and the next one pulled back, over all still pixels together.

    Both are blurred by one pixel: pulling back samples between pixels, which costs edges more.
    """
    film = Film(samples=4, grain=0.0, shutter_s=0.0)
    pairs = []
    for seed in seeds:
        scene = StreetScene(SceneConfig(seed=seed, **SIZE, film=film))
        for camera in ("front", "left"):
            first, later = (scene.render(camera, i) for i in (40, 41))
            pairs.append(_warp_errors(scene, first, later))
    warped, plain = (np.concatenate(part) for part in zip(*pairs, strict=True))
    count = len(pairs) * SIZE["width"] * SIZE["height"]
    found = {
        "mean": warped.mean(),
        "median": np.median(warped),
        "worst_pair": max(w.mean() for w, _ in pairs),
        "without_flow": plain.mean(),
        "share_of_pixels": len(warped) / count,
    }
    return {name: round(float(value), 2) for name, value in found.items()}


def _warp_errors(
    scene: StreetScene, first: RenderedFrame, later: RenderedFrame
) -> tuple[np.ndarray, np.ndarray]:
    """(with the flow, without) of the pixels that show scenery in both frames."""
    flow, valid = flow_to_next(scene, first)
    rows, columns = np.mgrid[: SIZE["height"], : SIZE["width"]].astype(np.float32)
    at = columns + flow[..., 0], rows + flow[..., 1]
    before, after = (
        cv2.GaussianBlur(f.image.astype(np.float32), (0, 0), 1.0) for f in (first, later)
    )
    image = cv2.remap(after, *at, cv2.INTER_LINEAR)
    depth = cv2.remap(later.depth, *at, cv2.INTER_NEAREST)
    ids = cv2.remap(later.ids.astype(np.float32), *at, cv2.INTER_NEAREST)
    still = valid & (first.ids == 0) & (ids == 0)
    still &= np.abs(depth - first.depth) < 0.03 * first.depth + 0.5  # hidden in neither
    error = np.abs(image - before).mean(-1)[still]
    return error, np.abs(after - before).mean(-1)[still]


def moving_tiles(seeds: list[int]) -> dict[str, float]:
    """Share of tiles that change where the rig drives as fast as the real one, after H.264."""
    changed: dict[str, list[float]] = defaultdict(list)
    for seed in seeds:
        scene = StreetScene(SceneConfig(seed=seed, width=1280, height=720, fps=10))
        for camera in scene.config.cameras:
            images = _decoded(scene, camera, _at_speed(scene))
            for before, after in pairwise(images[1:]):
                changed[camera].append(_changed_percent(before, after))
    return {name: round(float(np.mean(values)), 1) for name, values in changed.items()}


def _at_speed(scene: StreetScene) -> list[int]:
    """Five frames in a row within the real drive's speeds; ValueError if it never has them."""
    name, fps = scene.config.cameras[0], scene.config.fps
    at = [scene.camera(name, i).position for i in range(scene.config.num_frames + 1)]
    speed = np.linalg.norm(np.diff(at, axis=0), axis=1) * fps
    fits = (speed > REAL_SPEED[0]) & (speed < REAL_SPEED[1])
    for first in range(len(fits) - 5):
        if fits[first : first + 5].all():
            return list(range(first, first + 5))
    raise ValueError(f"the rig of seed {scene.config.seed} never drives at {REAL_SPEED} m/s")


def _decoded(scene: StreetScene, camera: str, indices: list[int]) -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        path, config = Path(folder) / "camera.mp4", scene.config
        with CameraFile(path, config.width, config.height, config.fps, DEFAULT_CRF) as video:
            for index in indices:
                video.add(scene.render(camera, index).image)
        with av.open(str(path)) as file:
            return [f.to_ndarray(format="rgb24") for f in file.decode(video=0)]


def changed_tiles(drive: Path) -> dict[str, float]:
    """Share of tiles whose luma changes from frame to frame of a drive's decoded videos."""
    changed: dict[str, list[float]] = defaultdict(list)
    for camera, entry in json.loads((drive / "rig.json").read_text()).items():
        at = np.array([[p["position"][k] for k in "xyz"] for p in entry["poses"]])
        step_m = np.linalg.norm(np.diff(at, axis=0), axis=1)
        with av.open(str(drive / entry["file"])) as file:
            images = [f.to_ndarray(format="rgb24") for f in file.decode(video=0)]
        for k in range(4, len(images) - 1, 5):
            name = camera if step_m[k] > 0.25 else "standing" if step_m[k] < 0.01 else "slow"
            changed[name].append(_changed_percent(images[k], images[k + 1]))
    return {name: round(float(np.mean(values)), 1) for name, values in changed.items()}


def _changed_percent(a: np.ndarray, b: np.ndarray) -> float:
    luma = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY).astype(float) for x in (a, b)]
    difference = np.abs(luma[0] - luma[1])
    rows, columns = (s // TILE_PX for s in difference.shape)
    tiles = difference[: rows * TILE_PX, : columns * TILE_PX]
    mean = tiles.reshape(rows, TILE_PX, columns, TILE_PX).mean((1, 3))
    return 100 * float((mean > CHANGED).mean())


def cpu_seconds(seed: int) -> dict[str, float]:
    """Of all threads together, by samples a pixel, in the order in which drives are written.

    A camera's first frame is not counted: it uploads what it sees and draws its still shadows.
    """
    found = {}
    for samples in (1, 2, 4):
        config = SceneConfig(seed=seed, width=1280, height=720, film=Film(samples=samples))
        scene, spent = StreetScene(config), []
        for camera in config.cameras:
            scene.render(camera, 0)
            for index in (1, 2):
                began = time.process_time()
                scene.render(camera, index)
                spent.append(time.process_time() - began)
        found[f"samples_{samples}"] = round(float(np.mean(spent)), 2)
    return found


def recall(onnx: Path, seeds: list[int]) -> dict[str, dict[str, float]]:
    """Share of rendered objects that the detector finds at IoU 0.5 with the right class."""
    detector = OnnxDetector(DetectorConfig(onnx=onnx, score=0.25))
    total: dict[str, int] = defaultdict(int)
    found: dict[str, int] = defaultdict(int)
    for frame in _frames(seeds):
        (detections,) = detector.detect(torch.from_numpy(frame.image)[None], None)  # type: ignore[arg-type]
        for wanted in frame.objects:
            is_high = wanted.xyxy[3] - wanted.xyxy[1] > MIN_HEIGHT_PX
            if not is_high or wanted.visible_fraction < MIN_VISIBLE:
                continue
            same = detections.class_id == CLASSES.index(wanted.category)
            box = np.array(wanted.xyxy, float)
            total[wanted.category] += 1
            found[wanted.category] += any(iou(box, b) >= 0.5 for b in detections.xyxy[same])
    return {k: {"recall": round(found[k] / n, 2), "objects": n} for k, n in sorted(total.items())}


def _frames(seeds: list[int]) -> Iterator[RenderedFrame]:
    for seed in seeds:
        scene = StreetScene(SceneConfig(seed=seed, **SIZE))
        for camera in ("front", "front_left"):
            for index in (0, 25, 50, 75):
                yield scene.render(camera, index)


def contact_sheet(path: Path) -> None:
    rows = []
    for seed, weather, index in SHEET:
        scene = StreetScene(SceneConfig(seed=seed, weather=weather, width=480, height=270))
        pictures = [scene.render(camera, index).image for camera in scene.config.cameras]
        framed = [cv2.copyMakeBorder(p, 2, 2, 2, 2, cv2.BORDER_CONSTANT) for p in pictures]
        rows.append(np.concatenate(framed, 1))
    sheet = np.concatenate(rows)[..., ::-1]
    cv2.imwrite(str(path), sheet, [cv2.IMWRITE_JPEG_QUALITY, 86])


def iou(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    inter = float(np.prod(np.clip(high - low, 0, None)))
    areas = [float((x1 - x0) * (y1 - y0)) for x0, y0, x1, y1 in (a, b)]
    return inter / (sum(areas) - inter)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--onnx", type=Path, help="a YOLOX model in ONNX form")
    parser.add_argument("--seeds", type=int, nargs="+", default=[21, 23, 26])
    parser.add_argument("--drives", type=Path, nargs="*", default=[STREET], help="whose tiles")
    parser.add_argument("--sheet", type=Path, help="where to draw the contact sheet")
    return parser.parse_args()


if __name__ == "__main__":
    main()
