"""What a recording says about itself: the metadata record and the head of every segment."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from streamvis import __version__, wire
from streamvis.record.channels import why_no_video
from streamvis.types import AccessUnit
from streamvis.wire import InfoMessage, Observed, Parts


class About:
    """Learns from the messages. `see_*` return True if a new metadata record is due."""

    def __init__(self, pipeline: str) -> None:
        self.info: InfoMessage | None = None
        self.info_parts: Parts = ()
        self._facts = {
            "version": __version__,
            "wire": ".".join(map(str, wire.VERSION)),
            "recording": uuid4().hex,
            "pipeline": pipeline,
        }
        self._epochs: dict[str, None] = {}
        self._cameras: dict[str, dict[str, Any]] = {}

    @property
    def metadata(self) -> dict[str, str]:
        return {
            **self._facts,
            "epochs": ",".join(self._epochs),
            "cameras": json.dumps(self._cameras),
        }

    @property
    def has_units(self) -> bool:
        return bool(self._cameras)

    def see(self, seen: Observed) -> bool:
        """Any message."""
        before = (dict(self._facts), len(self._epochs))
        self._epochs.setdefault(seen.epoch)
        if seen.kind == "hb":
            self._facts["config_hash"] = str(seen.header.get("config_hash", ""))
        model = seen.header.get("model")
        if isinstance(model, dict):
            self._facts["model"] = str(model.get("name", ""))
            self._facts["weights_sha256"] = str(model.get("weights_sha256", ""))
        return before != (self._facts, len(self._epochs))

    def see_unit(self, camera: str, unit: AccessUnit) -> bool:
        """Flags a camera whose bitstream viewers get no copy of, and why."""
        reason = why_no_video(unit)
        known = {"codec": unit.codec, "video": reason is None, "no_video_because": reason}
        if self._cameras.get(camera) == known:
            return False
        self._cameras[camera] = known
        return True

    def see_info(self, parts: Parts) -> bool:
        """False if it says what is known already: the pipeline repeats it every second."""
        message = wire.decode(parts)
        assert isinstance(message, InfoMessage)
        old = self.info
        if old is not None and _content(old) == _content(message):
            return False
        self.info, self.info_parts = message, parts
        return True


def _content(message: InfoMessage) -> tuple[object, ...]:
    return message.config, message.model, dict(message.cameras)
