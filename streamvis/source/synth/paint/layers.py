"""The numbers of the scene's textures: the layers of one texture array."""

from __future__ import annotations

SIDE_PX = 512  # of every layer

BODIES = ("saloon", "estate", "hatch", "suv", "van", "pickup", "lorry", "bus")
SIGNS = ("speed", "parking", "no_entry", "crossing", "stop", "yield", "arrow", "no_parking")
NUM_WINDOWS, NUM_SHOPS, NUM_DOORS, NUM_OFFICES, NUM_LEAVES, NUM_WHEELS = 5, 6, 2, 2, 2, 3
WALLS = ("brick", "old_brick", "stucco", "stone", "concrete")


def _names() -> list[str]:
    names = [
        "white",
        "noise",
        "asphalt",
        "paving",
        "roof",
        "bark",
        "grass",
        "fabric",
        "manhole",
        "panel",
    ]
    names += WALLS
    counts = {"window": NUM_WINDOWS, "shop": NUM_SHOPS, "door": NUM_DOORS, "office": NUM_OFFICES}
    counts |= {"leaves": NUM_LEAVES, "wheel": NUM_WHEELS}
    names += [f"{kind}_{k}" for kind, count in counts.items() for k in range(count)]
    names += [f"sign_{kind}" for kind in SIGNS]
    for body in BODIES:
        names += [body, f"{body}_parts"]
    return names


LAYER = {name: number for number, name in enumerate(_names())}
