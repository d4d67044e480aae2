"""Tests that draw run where there is OpenGL; the committed drives serve all others."""

from __future__ import annotations

from contextlib import suppress

import pytest

with suppress(ImportError):  # it and Mesa bring an LLVM each: loaded after Mesa it crashes
    import triton  # noqa: F401

from streamvis.errors import SourceError
from streamvis.source.synth.render.gpu import context


def _has_opengl() -> bool:
    try:
        context()
    except SourceError:
        return False
    return True


needs_opengl = pytest.mark.skipif(
    not _has_opengl(), reason="no OpenGL through EGL here (extra synth; libegl1, libgl1-mesa-dri)"
)
