"""The subscriber that is stopped, a process of its own; prints what it counted when it ends."""

from __future__ import annotations

import json
import sys

from streamvis.client import Subscriber
from streamvis.errors import Lagging

MAX_AGE_MS = 1000.0


def main(address: str) -> None:
    counts = dict.fromkeys(("received", "late", "missed"), 0)
    # Embeddings, too: what is meant for it while it stands still must be more than sockets hold.
    with Subscriber(address, kinds=("det", "emb"), max_age_ms=MAX_AGE_MS) as messages:
        while not messages.is_stopped:
            try:
                next(messages)
                counts["received"] += 1
            except Lagging:
                counts["late"] += 1
            except StopIteration:
                break
        counts["missed"] = sum(messages.gaps.values())
    print(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1])
