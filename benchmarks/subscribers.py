"""Many subscribers, one of them stopped: what the others see of it, and what the publisher pays.

    python benchmarks/subscribers.py [--subscribers 50] [--seconds 20] [--rounds 3]

Four cameras at 10 Hz with boxes, embeddings and pictures of 20 kB go through the proxy to all
subscribers, once with all of them reading and once with one stopped (SIGSTOP) from the start on;
the two take turns. Latency is from the moment a message is made until a subscriber has read it.
Sockets on 127.0.0.1, the publisher in a process of its own, the subscribers in two, and the one
that is stopped in its own. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import zmq

from streamvis import wire
from streamvis.publish.config import PublishConfig
from streamvis.publish.heartbeat import Heart
from streamvis.publish.proxy import Proxy
from streamvis.publish.publisher import Publisher
from streamvis.types import (
    LOSS_STAGES,
    CaptureTime,
    Detections,
    FrameResult,
    Ledger,
    ModelId,
    TileCounts,
)
from streamvis.wire import Origin

CAMERAS = ("front", "left", "right", "rear")
RATE_HZ = 10
PICTURE = bytes(20_000)
STORE_BYTES = 1_000_000  # full after a second: what grows then is a leak
CASES = ("all_read", "one_stopped")
KINDS = ("det", "emb", "img", "hb")
READY_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", choices=CASES, action="append", help="only this one")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--address", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role == "publish":
        publish(args.seconds, args.subscribers)
    elif args.role == "read":
        read(args.address, args.subscribers)
    else:
        compare(args.case or CASES, args.subscribers, args.seconds, args.rounds)


# ---------------------------------------------------------------- both cases, in turns


def compare(cases: Sequence[str], num_subscribers: int, seconds: float, rounds: int) -> None:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number in range(rounds):
        for case in cases:
            result = run_once(num_subscribers, seconds, stop_one=case == "one_stopped")
            print(f"round {number + 1}, {case}: {result}", flush=True)
            found[case].append(result)
    summary = {
        case: {key: statistics.median(r[key] for r in results) for key in results[0]}
        for case, results in found.items()
    }
    print(json.dumps({"subscribers": num_subscribers, "cores": os.cpu_count(), **summary}))


def run_once(num_subscribers: int, seconds: float, stop_one: bool) -> dict[str, float]:
    with ExitStack() as stack:
        start = partial(_start, stack)
        publisher = start("publish", "--seconds", seconds, "--subscribers", num_subscribers)
        address = _read_line(publisher)
        shares = [(num_subscribers - 1) // 2, num_subscribers // 2]
        readers = [start("read", "--address", address, "--subscribers", n) for n in shares]
        victim = start("read", "--address", address, "--subscribers", 1)
        assert _read_line(publisher) == "begin"
        if stop_one:
            victim.send_signal(signal.SIGSTOP)
        told = json.loads(_read_line(publisher))  # at the end
        victim.send_signal(signal.SIGCONT)
        heard = [json.loads(reader.communicate(timeout=READY_S)[0]) for reader in readers]
        lost = json.loads(victim.communicate(timeout=READY_S)[0])["gaps"]
    latencies = np.concatenate([h["latency_ms"] for h in heard])
    return {
        "p50_ms": round(float(np.percentile(latencies, 50)), 2),
        "p99_ms": round(float(np.percentile(latencies, 99)), 2),
        "gaps_of_others": sum(h["gaps"] for h in heard),
        "gaps_of_stopped": lost,
        "overflows": told["overflows"],
        "rss_growth_mb": told["rss_growth_mb"],
        "rss_slope_kb_s": told["rss_slope_kb_s"],
    }


def _start(stack: ExitStack, name: str, *options: object) -> subprocess.Popen[str]:
    """A process of this file in another role; whatever happens, it does not outlive the stack."""
    argv = [sys.executable, __file__, "--role", name, *map(str, options)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def _read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None, "started with a pipe"
    return process.stdout.readline().strip()


# ---------------------------------------------------------------- the publisher's process


def publish(seconds: float, num_subscribers: int) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    config = PublishConfig(address="tcp://127.0.0.1:0", store=STORE_BYTES)
    heart = Heart(Origin.here("bench"), config.heartbeat)
    with TemporaryDirectory() as folder:
        proxy = Proxy(config, f"ipc://{folder}/workers", context, heart=heart)
        with proxy:
            print(proxy.address, flush=True)
            assert proxy.wait_for_subscribers(num_subscribers, READY_S), "too few subscribers"
            print("begin", flush=True)
            with Publisher("bench", proxy.backend, context) as publisher:
                rss_mb = send_for(seconds, publisher)
            told = {"overflows": proxy.num_overflows, **about_memory(rss_mb)}
            print(json.dumps(told), flush=True)


def send_for(seconds: float, publisher: Publisher) -> list[float]:
    """RSS in MB, once a frame."""
    process, rss_mb = psutil.Process(), []
    result = make_result()
    begin = time.monotonic()
    for index in range(round(seconds * RATE_HZ)):
        time.sleep(max(0.0, begin + index / RATE_HZ - time.monotonic()))
        for camera in CAMERAS:
            stamps = {"ingest": time.monotonic_ns()}
            publisher.send(replace(result, camera=camera, frame_index=index, stamps_ns=stamps))
            publisher.send_image(camera, index, PICTURE)
        rss_mb.append(process.memory_info().rss / 1e6)
    return rss_mb


def about_memory(rss_mb: list[float]) -> dict[str, float]:
    """Of the second half: by then every queue and the store's first part are filled."""
    half = np.array(rss_mb[len(rss_mb) // 2 :])
    slope_mb_a_frame = np.polyfit(np.arange(len(half)), half, 1)[0]
    return {
        "rss_growth_mb": round(float(half[-1] - half[0]), 2),
        "rss_slope_kb_s": round(float(slope_mb_a_frame) * RATE_HZ * 1000, 1),
    }


def make_result() -> FrameResult:
    count = 10
    return FrameResult(
        camera="",
        epoch="",
        frame_index=0,
        pts=0,
        time_base=Fraction(1, RATE_HZ),
        capture=CaptureTime(0, "none", 0),
        stamps_ns={"ingest": 0},
        source_size=(640, 384),
        embedding=np.zeros(256, np.float32),
        detections=Detections(
            np.zeros((count, 4), np.float32),
            np.zeros(count, np.float32),
            np.zeros(count, np.int32),
            np.zeros(count, np.int64),
        ),
        tiles=TileCounts(total=60, encoded=60),
        packet_kind="I",
        model=ModelId("bench", "0" * 64),
        ledger=Ledger(0, 0, 0, dict.fromkeys(LOSS_STAGES, 0)),
    )


# ---------------------------------------------------------------- the subscribers' processes


class Reader:
    """A raw subscriber: latencies of `det`, and gaps of everything."""

    def __init__(self, address: str) -> None:
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self.socket.setsockopt(zmq.RCVHWM, 64)
        self.latency_ms: list[float] = []
        self.gaps = 0
        self.is_stopped = False
        self._next_seq: dict[str, int] = {}
        self.socket.connect(address)
        for kind in KINDS:
            self.socket.subscribe(wire.topic_prefix(kind))

    def read(self) -> None:
        seen = wire.peek(self.socket.recv_multipart())
        if seen.kind == "hb":
            self._hear(seen)
            return
        if seen.kind == "det":
            age_ns = time.monotonic_ns() - seen.stamps_ns["ingest"]
            self.latency_ms.append(age_ns / 1e6)
        self._expect(seen.topic, seen.seq)
        self._next_seq[seen.topic] = seen.seq + 1

    def _hear(self, beat: wire.Observed) -> None:
        """What a heartbeat tells of and is not here is lost."""
        for topic, last in beat.header["last_seq"].items():
            if wire.split_topic(topic)[0] in KINDS[:-1]:
                self._expect(topic, last["seq"] + 1)
                self._next_seq[topic] = last["seq"] + 1
        if beat.header["stopped"] and not self.is_stopped:
            self.is_stopped = True
            self.socket.unsubscribe(wire.topic_prefix("hb"))

    def _expect(self, topic: str, seq: int) -> None:
        self.gaps += max(0, seq - self._next_seq.get(topic, 0))


def read(address: str, count: int) -> None:
    readers = {reader.socket: reader for reader in (Reader(address) for _ in range(count))}
    poller = zmq.Poller()
    for socket in readers:
        poller.register(socket, zmq.POLLIN)
    while not all(reader.is_stopped for reader in readers.values()):
        for socket, _ in poller.poll(int(READY_S * 1000)):
            readers[socket].read()
    latencies = [round(ms, 3) for reader in readers.values() for ms in reader.latency_ms]
    print(json.dumps({"latency_ms": latencies, "gaps": sum(r.gaps for r in readers.values())}))
    for socket in readers:
        socket.close(linger=0)


if __name__ == "__main__":
    main()
