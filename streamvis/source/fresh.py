"""A decoder like another one, that remembers nothing.

FFmpeg's H.264 decoder keeps traces of damage, through a flush, too: now and then the next intact
key frame comes out wrong in a few blocks, and is not called damaged.
"""

from __future__ import annotations

import re
from typing import Any, cast

import av

_IDR = re.compile(rb"\x00\x00\x01[\x05\x25\x45\x65]")  # a start code and the header of its slice


def needs_nothing_before(context: av.VideoCodecContext, packet: av.Packet[Any]) -> bool:
    """Whether a fresh decoder takes it from here, without loss. Not where pictures are reordered:
    how many to wait for is learnt from the past; nor at a recovery point, which leans on it."""
    is_simple = context.name == "h264" and not context.has_b_frames
    return is_simple and packet.is_keyframe and _IDR.search(bytes(packet)) is not None


def like(context: av.VideoCodecContext) -> av.VideoCodecContext:
    made = cast(av.VideoCodecContext, av.CodecContext.create(context.name, "r"))
    made.extradata = context.extradata
    made.width, made.height = context.width, context.height
    made.thread_count = context.thread_count
    made.flags = context.flags
    made.options = dict(context.options)
    return made
