"""Credentials taken out of text: the one place that knows what they look like in a URI."""

from __future__ import annotations

import re

HIDDEN = "***"
# A password may hold @ and / though a URI's grammar forbids it: `user:` up to the last @ goes.
# One slash after the scheme is a slip of the hand, and no less secret.
_LOGIN = re.compile(r"(//|(?<=\w:)/)(?:[^\s/@:]*:\S*|[^\s/]*)@")
# Some cameras have theirs in the path: /user=admin_password=XXXX_channel=1_stream=0.sdp
_SECRET = re.compile(
    r"([?&;/_][^=&;\s]{0,64}(?:pass|pwd|psw|token|key|secret|auth|sig|user|usr|login)"
    r"[^=&;\s]{0,64}=)"
    r"[^&;\s'\"]+",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """`text` without the logins of URIs, and without secrets in their queries."""
    return _SECRET.sub(rf"\1{HIDDEN}", _LOGIN.sub(rf"\1{HIDDEN}@", text))
