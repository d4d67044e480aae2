"""What the channels of a recording are: ours, and those for viewers that know no msgpack."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
from foxglove_schemas_protobuf.Color_pb2 import Color
from foxglove_schemas_protobuf.CompressedVideo_pb2 import CompressedVideo
from foxglove_schemas_protobuf.ImageAnnotations_pb2 import ImageAnnotations
from foxglove_schemas_protobuf.Point2_pb2 import Point2
from foxglove_schemas_protobuf.PointsAnnotation_pb2 import PointsAnnotation
from foxglove_schemas_protobuf.TextAnnotation_pb2 import TextAnnotation
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.timestamp_pb2 import Timestamp

from streamvis.record.reader import ENCODING, SCHEMA_ENCODING
from streamvis.render.draw import track_colour
from streamvis.types import AccessUnit, CameraInfo
from streamvis.wire import DetMessage

_SCHEMAS = Path(__file__).parent.parent / "schemas"
_VIDEO_FORMATS = {"h264": "h264", "hevc": "h265"}  # FFmpeg's name -> Foxglove's
_LINE_PX = 2.0
_FONT_PX = 14.0


@dataclass(frozen=True)
class ChannelKind:
    """How the messages of a channel are encoded, and the schema that says what is in them."""

    schema_name: str
    schema_encoding: str
    schema: bytes
    encoding: str


@dataclass(frozen=True)
class Entry:
    """One message for the file."""

    topic: str
    channel: ChannelKind
    log_time_ns: int
    publish_time_ns: int
    sequence: int
    data: bytes


@cache
def wire_channel(kind: str) -> ChannelKind:
    """A channel of published messages, unchanged; the schema is that of the header."""
    schema = (_SCHEMAS / f"{kind}.json").read_bytes()
    return ChannelKind(f"streamvis.{kind}", SCHEMA_ENCODING, schema, ENCODING)


@cache
def _protobuf_channel(about: Descriptor) -> ChannelKind:
    schema = _file_descriptors(about.file).SerializeToString()
    return ChannelKind(about.full_name, "protobuf", schema, "protobuf")


def _file_descriptors(file: FileDescriptor) -> FileDescriptorSet:
    """The file and all it imports, imports first: what MCAP asks of a protobuf schema."""
    found: dict[str, FileDescriptor] = {}

    def collect(one: FileDescriptor) -> None:
        for imported in one.dependencies:
            if imported.name not in found:
                collect(imported)
        found[one.name] = one

    collect(file)
    descriptors = FileDescriptorSet()
    for one in found.values():
        one.CopyToProto(descriptors.file.add())
    return descriptors


# ---------------------------------------------------------------- for viewers


def why_no_video(unit: AccessUnit) -> str | None:
    """What keeps a stream out of foxglove.CompressedVideo; None if it fits."""
    if unit.codec not in _VIDEO_FORMATS:
        return f"codec {unit.codec}"
    return "B-frames" if unit.is_reordered else None


def video_entry(camera: str, unit: AccessUnit, t_ns: int, publish_ns: int) -> Entry:
    message = CompressedVideo(
        timestamp=_timestamp(t_ns),
        frame_id=camera,
        data=unit.data,
        format=_VIDEO_FORMATS[unit.codec],
    )
    return _entry(f"{camera}/video", message, t_ns, publish_ns, unit.index)


def boxes_entry(message: DetMessage, t_ns: int, publish_ns: int) -> Entry:
    """Boxes with class, score and track id; the time is that of the same frame's video."""
    found, classes = message.detections, message.model.classes
    annotations = ImageAnnotations(timestamp=_timestamp(t_ns))
    rows = zip(
        found.xyxy.tolist(),
        found.score.tolist(),
        found.class_id.tolist(),
        found.track_id.tolist(),
        strict=True,
    )
    for box, score, class_id, track_id in rows:
        colour = _colour(class_id)
        name = classes[class_id] if 0 <= class_id < len(classes) else f"class {class_id}"
        track = f" #{track_id}" if track_id >= 0 else ""
        annotations.points.append(_outline(box, colour, t_ns))
        annotations.texts.append(_label(box, f"{name} {score:.2f}{track}", colour, t_ns))
    return _entry(f"{message.camera}/boxes", annotations, t_ns, publish_ns, message.frame_index)


def calibration_entry(camera: str, info: CameraInfo, t_ns: int, publish_ns: int) -> Entry | None:
    """None if nothing is known of the lens."""
    lens = info.intrinsics
    if lens is None:
        return None
    message = CameraCalibration(
        timestamp=_timestamp(t_ns),
        frame_id=camera,
        width=info.width,
        height=info.height,
        distortion_model="plumb_bob",
        D=[0.0] * 5,
        K=[lens.fx, 0, lens.cx, 0, lens.fy, lens.cy, 0, 0, 1],
        R=[1, 0, 0, 0, 1, 0, 0, 0, 1],
        P=[lens.fx, 0, lens.cx, 0, 0, lens.fy, lens.cy, 0, 0, 0, 1, 0],
    )
    return _entry(f"{camera}/calibration", message, t_ns, publish_ns, 0)


def _entry(topic: str, message: Any, t_ns: int, publish_ns: int, sequence: int) -> Entry:
    channel = _protobuf_channel(message.DESCRIPTOR)
    return Entry(topic, channel, t_ns, publish_ns, sequence, message.SerializeToString())


def _outline(box: list[float], colour: Color, t_ns: int) -> PointsAnnotation:
    x0, y0, x1, y1 = box
    return PointsAnnotation(
        timestamp=_timestamp(t_ns),
        type=PointsAnnotation.LINE_LOOP,
        points=[Point2(x=x, y=y) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))],
        outline_color=colour,
        thickness=_LINE_PX,
    )


def _label(box: list[float], text: str, colour: Color, t_ns: int) -> TextAnnotation:
    return TextAnnotation(
        timestamp=_timestamp(t_ns),
        position=Point2(x=box[0], y=box[1]),
        text=text,
        font_size=_FONT_PX,
        text_color=Color(a=1),
        background_color=colour,
    )


def _colour(class_id: int) -> Color:
    r, g, b = track_colour(class_id)
    return Color(r=r / 255, g=g / 255, b=b / 255, a=1)


def _timestamp(t_ns: int) -> Timestamp:
    return Timestamp(seconds=t_ns // 1_000_000_000, nanos=t_ns % 1_000_000_000)
