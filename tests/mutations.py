"""Small damage to bytes and texts, drawn by hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_OFFSETS = st.integers(0, 1 << 20)
mutations = st.one_of(
    st.tuples(st.just("flip"), _OFFSETS, st.integers(1, 255)),
    st.tuples(st.just("cut"), _OFFSETS, st.integers(1, 64)),
    st.tuples(st.just("insert"), _OFFSETS, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("repeat"), _OFFSETS, st.integers(1, 64)),
    st.tuples(st.just("end"), _OFFSETS, st.just(0)),
)


def mutate(data: bytes, change: Any) -> bytes:
    """`change` is drawn from `mutations`; offsets wrap around."""
    verb, offset, what = change
    at = offset % max(1, len(data))
    match verb:
        case "flip":
            return data[:at] + bytes([data[at] ^ what]) + data[at + 1 :] if data else data
        case "cut":
            return data[:at] + data[at + what :]
        case "insert":
            return data[:at] + what + data[at:]
        case "repeat":
            return data[:at] + data[at : at + what] * 2 + data[at + what :]
        case _:
            return data[:at]
