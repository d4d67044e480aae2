"""Receive what a streamvis pipeline publishes. Needs numpy, msgpack and pyzmq, nothing else.

with Subscriber("tcp://127.0.0.1:7700", kinds=("det",)) as results:
    for message in results:
        print(message.camera, message.frame_index, message.detections.xyxy)
"""

from streamvis.client.curve import ClientKeys
from streamvis.client.health import Health
from streamvis.client.subscriber import AsyncSubscriber, Subscriber
from streamvis.errors import AddressError, Lagging, StreamvisError, VersionError, WireError
from streamvis.types import (
    AccessUnit,
    CameraInfo,
    CaptureTime,
    Detections,
    Ledger,
    ModelId,
    TileCounts,
    TilePlan,
)
from streamvis.wire import (
    AnyMessage,
    CameraState,
    DetMessage,
    EmbMessage,
    Heartbeat,
    ImgMessage,
    InfoMessage,
    PlanMessage,
    SemMessage,
    StatMessage,
    SyncMember,
    SyncMessage,
    VidMessage,
)

__all__ = [
    "AccessUnit",
    "AddressError",
    "AnyMessage",
    "AsyncSubscriber",
    "CameraInfo",
    "CameraState",
    "CaptureTime",
    "ClientKeys",
    "DetMessage",
    "Detections",
    "EmbMessage",
    "Health",
    "Heartbeat",
    "ImgMessage",
    "InfoMessage",
    "Lagging",
    "Ledger",
    "ModelId",
    "PlanMessage",
    "SemMessage",
    "StatMessage",
    "StreamvisError",
    "Subscriber",
    "SyncMember",
    "SyncMessage",
    "TileCounts",
    "TilePlan",
    "VersionError",
    "VidMessage",
    "WireError",
]
