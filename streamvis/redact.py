"""Credentials taken out of text: the one place that knows what they look like in a URI."""

from __future__ import annotations

import re

_HIDDEN = "***"
# A password may hold @ and / though a URI's grammar forbids it: `user:` up to the last @ goes.
_LOGIN = re.compile(r"//(?:[^\s/@:]*:\S*|[^\s/]*)@")
_SECRET = re.compile(
    r"([?&;][^=&;\s]*(?:pass|pwd|psw|token|key|secret|auth|sig|user|usr|login)[^=&;\s]*=)"
    r"[^&;\s'\"]+",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """`text` without the logins of URIs, and without secrets in their queries."""
    return _SECRET.sub(rf"\1{_HIDDEN}", _LOGIN.sub(f"//{_HIDDEN}@", text))
