"""The Ray cluster that a run joins, or starts for itself."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import ray

from streamvis.errors import RuntimeStartError

_OBJECT_STORE_BYTES = 100 * 1024 * 1024  # control calls only
_CONNECT_TIMEOUT_S = 5.0
# By default Ray's control service keeps a record of every call, actor and process for its
# dashboard: 100,000 of each, which a session that runs for days fills.
_FORGETFUL = {
    "task_events_report_interval_ms": 0,  # none
    "maximum_gcs_destroyed_actor_cached_count": 100,
    "maximum_gcs_dead_worker_cached_count": 100,
}


class Cluster:
    """Connected from `open` to `close`."""

    def __init__(self, folder: Path) -> None:
        """`folder` is where a cluster of our own keeps its files."""
        self._folder = folder
        # On the main thread ray.init would replace the caller's SIGTERM handler; and Ray's
        # daemons die with the thread that started them, so this one lives until `close`.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ray")

    def open(self) -> None:
        """Join the cluster that RAY_ADDRESS names, else start one. Raises RuntimeStartError."""
        address = os.environ.get("RAY_ADDRESS")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options: dict[str, Any] = {"address": address} if address else self._own()
        try:
            if address:
                _check_reachable(address)
            logging.getLogger("ray").setLevel(logging.ERROR)
            init = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR, **options)
            self._thread.submit(init).result()
        except (OSError, RuntimeError, ValueError) as error:
            what = f"join the Ray cluster at {address}" if address else "start Ray"
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise RuntimeStartError(
                f"cannot {what} ({reason}); check it, or run with --runtime local"
            ) from None
        _reinstall_signal_handlers()

    def close(self) -> None:
        if ray.is_initialized():
            ray.shutdown()
        self._thread.shutdown()

    def _own(self) -> dict[str, Any]:
        return {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_system_config": _FORGETFUL,
            "_temp_dir": str(self._folder / "ray"),
        }


def _reinstall_signal_handlers() -> None:
    """Ray's own, beneath Python's, print a stack trace at every SIGTERM."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.getsignal(number))


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()
