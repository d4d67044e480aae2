"""CPU time to move one 640x384 frame's I packet from a camera process to a worker process:
over ZeroMQ, as streamvis does it, and as an argument of a Ray actor call.

    python benchmarks/data_plane.py [--frames 200] [--turns 5]

Both ways take turns in one run; CPU time is user + system of every process involved (for Ray:
the driver, the actor and Ray's own daemons). The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import ray

from streamvis.encode.config import EncoderConfig
from streamvis.front import build_front
from streamvis.runtime.tile_link import BackLink, FrontLink
from streamvis.tiling.config import TilingConfig
from streamvis.types import CaptureTime, Feedback, Frame, LetterBox, TilePacket

WIDTH, HEIGHT = 640, 384


def make_packet() -> TilePacket:
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    box = LetterBox(WIDTH, HEIGHT, WIDTH, HEIGHT)
    frame = Frame("cam", 0, image, box, 0, Fraction(1, 30), CaptureTime(0, "none", 0), 0, 0)
    front = build_front(EncoderConfig(input_size=(WIDTH, HEIGHT)), TilingConfig())
    return front.step(frame, Feedback())


def serve_zmq(endpoint: str) -> None:
    """The worker's end: answer every packet until the camera says it ended."""
    link = BackLink(endpoint)
    while isinstance(message := link.receive(10_000), TilePacket):
        link.reply(message.camera, Feedback(acked_seq=message.seq))
    link.close()


@ray.remote(num_cpus=0)
class Worker:
    def take(self, packet: TilePacket) -> int:
        return packet.seq

    def pid(self) -> int:
        return os.getpid()


def cpu_ms(pids: list[int], work: Callable[[], None], frames: int) -> tuple[float, float]:
    """(CPU ms, wall ms) a frame of these processes while `work` runs."""
    processes = [psutil.Process(pid) for pid in pids]

    def total() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    cpu, wall = total(), time.perf_counter()
    work()
    return (total() - cpu) * 1e3 / frames, (time.perf_counter() - wall) * 1e3 / frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    packet = make_packet()

    with tempfile.TemporaryDirectory(prefix="sv-", dir="/tmp") as folder:
        endpoint = f"ipc://{Path(folder) / 'tiles'}"
        server = multiprocessing.get_context("spawn").Process(target=serve_zmq, args=(endpoint,))
        server.start()
        link = FrontLink(endpoint, "cam")
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=200 * 1024 * 1024,
            _temp_dir=f"{folder}/ray",
        )
        worker = Worker.remote()
        ray_pids = [os.getpid(), ray.get(worker.pid.remote()), *ray_daemons()]

        def over_zmq() -> None:
            for _ in range(args.frames):
                link.send(packet)
                assert link.receive(10_000) is not None, "the worker did not answer"

        def over_ray() -> None:
            for _ in range(args.frames):
                ray.get(worker.take.remote(packet))

        over_zmq(), over_ray()  # warm up
        zmq_turns, ray_turns = [], []
        for _ in range(args.turns):
            zmq_turns.append(cpu_ms([os.getpid(), server.pid or 0], over_zmq, args.frames))
            ray_turns.append(cpu_ms(ray_pids, over_ray, args.frames))
        ray.shutdown()
        link.end(packet.counts)
        link.close()
        server.join()
    print(json.dumps(figures(zmq_turns, ray_turns, packet)))


def ray_daemons() -> list[int]:
    children = psutil.Process().children(recursive=True)
    return [p.pid for p in children if {"raylet", "gcs_server"} & {Path(p.name()).name}]


def figures(
    zmq_turns: list[tuple[float, float]], ray_turns: list[tuple[float, float]], packet: TilePacket
) -> dict[str, object]:
    def middle(turns: list[tuple[float, float]], column: int) -> float:
        return round(statistics.median(turn[column] for turn in turns), 3)

    ratios = [r[0] / z[0] for z, r in zip(zmq_turns, ray_turns, strict=True)]
    return {
        "benchmark": "data_plane",
        "packet_bytes": packet.tiles.nbytes,
        "zmq_cpu_ms": middle(zmq_turns, 0),
        "zmq_wall_ms": middle(zmq_turns, 1),
        "ray_cpu_ms": middle(ray_turns, 0),
        "ray_wall_ms": middle(ray_turns, 1),
        "ray_over_zmq_cpu": round(statistics.median(ratios), 1),
        "ratio_min_max": [round(min(ratios), 1), round(max(ratios), 1)],
        "turns": len(ratios),
    }


if __name__ == "__main__":
    main()
