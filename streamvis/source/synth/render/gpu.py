"""OpenGL without a display: the context, programs, pictures and meshes of the renderer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamvis.errors import SourceError
from streamvis.source.synth.model.mesh import Kind, Mesh
from streamvis.source.synth.render.things import ROW_FLOATS, Group

_VERTEX = np.dtype(
    [
        ("position", "<f4", 3),
        ("normal", "<f4", 3),
        ("uv", "<f4", 2),
        ("colour", "u1", 4),
        ("material", "u1", 4),
    ]
)
_VERTEX_FORMAT = "3f 3f 2f 4f1 4f1"
_VERTEX_NAMES = ("position", "normal", "uv", "colour", "material")
_ROW_FORMAT = "4f 4f 4f 3f 4f 1f"
_ROW_NAMES = ("row_x", "row_y", "row_z", "velocity", "paint", "owner")


@cache
def context() -> Any:
    """The process's one OpenGL context; SourceError says what to install."""
    try:
        import moderngl
    except ImportError:
        raise SourceError(
            "the synthetic street needs moderngl: pip install 'streamvis[synth]'", "not_found"
        ) from None
    try:
        options: dict[str, Any] = {"standalone": True, "require": 330, "backend": "egl"}
        return moderngl.create_context(**options)
    except Exception as error:  # the library raises bare exceptions
        raise SourceError(
            f"the synthetic street needs OpenGL 3.3 through EGL ({error}); "
            "on Debian and Ubuntu: apt install libegl1 libgl1-mesa-dri",
            "not_found",
        ) from None


@cache
def program(vertex: str, fragment: str, define: str = "") -> Any:
    """`define` names a variant of the fragment shader. All renderers of a process share it:
    software OpenGL compiles for seconds."""
    folder = files("streamvis.source.synth.render")
    sources = ((folder / name).read_text(encoding="utf-8") for name in (vertex, fragment))
    vertex_shader, fragment_shader = sources
    if define:
        fragment_shader = fragment_shader.replace("\n", f"\n#define {define}\n", 1)
    return context().program(vertex_shader=vertex_shader, fragment_shader=fragment_shader)


def set_uniforms(target: Any, values: dict[str, Any]) -> None:
    """Those that the compiler kept; matrices are row-major here and column-major there."""
    for name, value in values.items():
        if name not in target:
            continue
        if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape == (4, 4):
            target[name].write(np.ascontiguousarray(value.T, np.float32).tobytes())
        elif isinstance(value, np.ndarray):
            target[name].write(np.ascontiguousarray(value, np.float32).tobytes())
        else:
            target[name].value = value


@dataclass(frozen=True)
class Program:
    code: Any
    kinds: tuple[Kind, ...] | None = None  # the faces it draws; None = all


class Quad:
    """A program that runs once a pixel."""

    def __init__(self, fragment: str) -> None:
        gl = context()
        self.program = program("screen.vert", fragment)
        corners = gl.buffer(np.array([-1, -1, 3, -1, -1, 3], np.float32).tobytes())
        self._array = gl.vertex_array(self.program, [(corners, "2f", "corner")])

    def draw(self, textures: dict[str, Any], uniforms: dict[str, Any]) -> None:
        for unit, (name, texture) in enumerate(textures.items()):
            if name in self.program:
                texture.use(unit)
                self.program[name].value = unit
        set_uniforms(self.program, uniforms)
        self._array.render()


def pack_vertices(mesh: Mesh) -> bytes:
    packed = np.zeros(len(mesh.position), _VERTEX)
    packed["position"], packed["normal"], packed["uv"] = mesh.position, mesh.normal, mesh.uv
    layer, kind, gloss, glow = mesh.material.T
    packed["colour"][:, :3] = np.rint(255 * np.sqrt(np.clip(mesh.colour, 0, 1)))
    packed["colour"][:, 3] = np.rint(255 * np.clip(gloss, 0, 1))
    packed["material"][:, 0], packed["material"][:, 1] = layer, kind
    packed["material"][:, 2] = np.rint(np.clip(16 * glow, 0, 255))
    return packed.tobytes()


class _Uploaded:
    """One mesh on the GPU with room for the rows of the things that share it."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh  # kept: the cache's key is its identity
        self._vertices = context().buffer(pack_vertices(mesh))
        self._kind = mesh.material[mesh.faces[:, 0], 1]
        self._faces: dict[tuple[Kind, ...] | None, Any] = {}
        self._arrays: dict[int, Any] = {}
        self._rows: Any = None
        self._room = 0

    def draw(self, target: Program, rows: NDArray[np.float32]) -> None:
        if len(rows) > self._room:
            self._reserve(2 * len(rows) if self._room else len(rows))
        key = id(target.code)
        if key not in self._arrays:
            self._arrays[key] = self._array(target)
        if self._arrays[key] is not None:
            self._rows.orphan()  # or the write would wait for what is being drawn
            self._rows.write(np.ascontiguousarray(rows).tobytes())
            self._arrays[key].render(instances=len(rows))

    def release(self) -> None:
        self._release_arrays()
        for buffer in (self._vertices, *self._faces.values(), self._rows):
            if buffer is not None:
                buffer.release()

    def _reserve(self, count: int) -> None:
        self._release_arrays()
        if self._rows is not None:
            self._rows.release()
        self._room = count
        self._rows = context().buffer(reserve=count * ROW_FLOATS * 4)

    def _release_arrays(self) -> None:
        for array in self._arrays.values():
            if array is not None:
                array.release()
        self._arrays.clear()

    def _array(self, target: Program) -> Any:
        """None if the program draws none of its faces."""
        faces = self._indices(target.kinds)
        if faces is None:
            return None
        content = [
            _content(target.code, self._vertices, _VERTEX_FORMAT, _VERTEX_NAMES, ""),
            _content(target.code, self._rows, _ROW_FORMAT, _ROW_NAMES, "/i"),
        ]
        return context().vertex_array(target.code, content, faces)

    def _indices(self, kinds: tuple[Kind, ...] | None) -> Any:
        if kinds not in self._faces:
            wanted = (
                self.mesh.faces if kinds is None else self.mesh.faces[np.isin(self._kind, kinds)]
            )
            data = np.ascontiguousarray(wanted, np.int32).tobytes()
            self._faces[kinds] = context().buffer(data) if data else None
        return self._faces[kinds]


_SIZES = {"3f": 12, "2f": 8, "4f": 16, "1f": 4, "4f1": 4}  # bytes


def _content(
    code: Any, buffer: Any, layout: str, names: tuple[str, ...], per: str
) -> tuple[Any, ...]:
    """What a vertex array reads of a buffer; skips what the program does not use."""
    parts, kept = [], []
    for part, name in zip(layout.split(), names, strict=True):
        parts.append(part if name in code else f"{_SIZES[part]}x")
        kept += [name] if name in code else []
    return (buffer, " ".join(parts) + per, *kept)


class MeshStore:
    """Meshes on the GPU, by identity."""

    def __init__(self) -> None:
        self._held: dict[int, _Uploaded] = {}

    def draw(self, target: Program, groups: Iterable[Group]) -> None:
        for found in groups:
            if not len(found.rows):
                continue
            key = id(found.mesh)
            if key not in self._held:
                self._held[key] = _Uploaded(found.mesh)
            self._held[key].draw(target, found.rows)

    def forget(self, meshes: Iterable[Mesh]) -> None:
        """Free meshes of one moment: people pose anew in each frame."""
        for mesh in meshes:
            held = self._held.pop(id(mesh), None)
            if held is not None:
                held.release()
