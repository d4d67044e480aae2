"""Whatever lies in a recording's file: messages up to the damage, or an error of ours."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matrix import contract
from mcap.writer import CompressionType, Writer
from mutations import mutate, mutations
from recording_samples import make_stream, record

from streamvis import wire
from streamvis.errors import StreamvisError
from streamvis.record.reader import Recording

FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example overwrites the file
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = record(tmp_path_factory.mktemp("recs"), make_stream(("front",), lost=(3,)))
    return next(iter(sorted(folder.glob("*.mcap")))).read_bytes()


def read_anyhow(path: Path) -> int:
    """Everything a reader does; nothing but our own errors comes out."""
    count = 0
    try:
        recording = Recording.open(path)
        _ = recording.config, recording.model, recording.metadata, recording.damage
        for message in recording.messages():
            wire.decode(message.parts)
            count += 1
        for camera in recording.cameras:
            if camera != wire.ALL_CAMERAS:
                list(recording.units(camera))
    except StreamvisError:
        return count
    return count


@contract("hostile_bytes", "g")
@FUZZ
@given(st.lists(mutations, min_size=1, max_size=3))
def test_mutated_recordings(tmp_path: Path, data: bytes, changes: list[object]) -> None:
    for change in changes:
        data = mutate(data, change)
    path = tmp_path / "0000.mcap"
    path.write_bytes(data)
    read_anyhow(path)


TOPICS = st.sampled_from(
    ["sv1/det/p/a/", "sv1/info/p/*/", "sv1/vid/p/a/", "sv2/det/p/a/", "sv1/", "sv1//", "x", ""]
) | st.text(max_size=12)
ENCODINGS = st.sampled_from(["msgpack", "json", ""])
BODIES = st.binary(max_size=40) | st.lists(st.binary(max_size=10), max_size=4).map(wire.join)


@contract("hostile_bytes", "g")
@FUZZ
@given(
    st.lists(st.tuples(TOPICS, ENCODINGS, st.sampled_from(["jsonschema", "protobuf"]), BODIES)),
    st.dictionaries(st.sampled_from(["recording", "version", "x"]), st.text(max_size=5)),
    st.sampled_from([b"", b"{}", b"[1]", b"not json", b"\xff", b"[" * 5000, b'{"a": 1e999}']),
)
def test_files_that_are_whole_and_hold_nonsense(
    tmp_path: Path,
    channels: list[tuple[str, str, str, bytes]],
    metadata: dict[str, str],
    config: bytes,
) -> None:
    """Checksums are right here: only what is inside is not."""
    file = io.BytesIO()
    writer = Writer(file, compression=CompressionType.NONE)
    writer.start()
    writer.add_metadata("streamvis", metadata)
    writer.add_attachment(0, 0, "pipeline.json", "application/json", config)
    for topic, encoding, schema_encoding, body in channels:
        schema = writer.register_schema("x", schema_encoding, b"{}")
        writer.add_message(writer.register_channel(topic, encoding, schema), 1, body, 1)
    writer.finish()
    path = tmp_path / "0000.mcap"
    path.write_bytes(file.getvalue())
    read_anyhow(path)


def test_an_untouched_recording_is_read_whole(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "0000.mcap"
    path.write_bytes(data)
    assert read_anyhow(path) > 50
