"""`synth://street?seed=1&seconds=6&fps=15&camera=front`: a scene named in a pipeline file."""

from __future__ import annotations

from difflib import get_close_matches
from urllib.parse import parse_qsl, urlsplit

from streamvis.source.synth.camera import SITES
from streamvis.source.synth.scene import SceneConfig

_KEYS = ("seed", "seconds", "fps", "size", "camera", "weather", "site")


def parse_synth_uri(uri: str) -> SceneConfig:
    """The scene a URI names, with one camera; ValueError says what is wrong with it."""
    parts = urlsplit(uri)
    if parts.scheme != "synth" or parts.netloc != "street":
        raise ValueError(f"a synthetic source is synth://street?camera=front, got {uri}")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    for key in given:
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, 1)
            raise ValueError(
                f"{uri} has no setting {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")
            )
    site = given.get("site", "drive")
    seconds, fps = _positive(given, "seconds", "6"), int(_positive(given, "fps", "15"))
    width, height = parse_size(given.get("size", "960x540"))
    return SceneConfig(
        seed=_whole(given, "seed", "1"),
        num_frames=max(1, round(seconds * fps)),
        fps=fps,
        width=width,
        height=height,
        cameras=(given.get("camera", next(iter(SITES.get(site, SITES["drive"])))),),
        weather=given.get("weather", "day"),
        site=site,
    )


def parse_size(text: str) -> tuple[int, int]:
    """'960x540' -> (960, 540)."""
    width, cross, height = text.partition("x")
    if not (cross and width.isdigit() and height.isdigit()):
        raise ValueError(f"a size is WIDTHxHEIGHT in pixels, such as 960x540; got {text!r}")
    return int(width), int(height)


def _whole(given: dict[str, str], key: str, default: str) -> int:
    text = given.get(key, default)
    if not text.isdigit():
        raise ValueError(f"{key} must be a whole number from 0, got {text!r}")
    return int(text)


def _positive(given: dict[str, str], key: str, default: str) -> float:
    text = given.get(key, default)
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise ValueError(f"{key} must be a positive number, got {text!r}")
    return value
