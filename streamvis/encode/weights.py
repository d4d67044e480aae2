"""Weights files: a safetensors bundle of encoder and head, and the manifest beside it.

sv_tiny.safetensors   encoder.*, head.*, and the optional parts embed.*, tokens.*:
                      matrices in float16, vectors in float32
sv_tiny.json          what is in it: hash, architecture, classes, how it was trained
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, FiniteFloat, PositiveFloat, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from streamvis.encode.config import TILE_PX
from streamvis.encode.sv_tiny import SvTinyArch
from streamvis.errors import WeightsError
from streamvis.types import CLASSES, ModelId

BUNDLED = Path(__file__).parents[1] / "weights" / "sv_tiny.safetensors"


class CalibrationMap(BaseModel):
    """Of each class's logit, to make its score a probability: scale * logit + bias."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: tuple[PositiveFloat, ...]  # [K]
    bias: tuple[FiniteFloat, ...]  # [K]


class Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["streamvis-weights/1"] = "streamvis-weights/1"
    name: str = "sv_tiny"
    sha256: str  # of the safetensors file, hex
    classes: tuple[str, ...] = CLASSES
    arch: SvTinyArch = SvTinyArch()
    training: dict[str, Any] = {}
    calibration: CalibrationMap | None = None  # None: scores as they were trained


@dataclass(frozen=True)
class Bundle:
    path: Path
    manifest: Manifest
    tensors: Mapping[str, Tensor]  # float32

    @property
    def model(self) -> ModelId:
        return ModelId(self.manifest.name, self.manifest.sha256, self.manifest.classes)

    def has(self, part: str) -> bool:
        return any(name.startswith(part + ".") for name in self.tensors)

    def load_into(self, module: nn.Module, part: str) -> None:
        """Copy the tensors named `part.*` into a module of exactly that shape."""
        prefix = part + "."
        state = {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise WeightsError(
                f"{self.path}: its {part} does not fit this architecture ({reason}); "
                "put the manifest of its training beside it, or train again"
            ) from None


def load_bundle(path: Path | None = None) -> Bundle:
    """The bundled weights, or a user's file with its manifest beside it if there is one."""
    path = path or BUNDLED
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot read these weights ({error.strerror}); "
            "check encoder.weights, or install streamvis again"
        ) from None
    sha256 = hashlib.sha256(data).hexdigest()
    manifest = _read_manifest(path.with_suffix(".json"), sha256)
    if manifest.sha256 != sha256:
        raise WeightsError(
            f"{path}: its hash is not the one in {path.with_suffix('.json').name}: "
            "the file is damaged or replaced; copy both files again"
        )
    if manifest.arch.tile_px != TILE_PX or manifest.classes != CLASSES:
        raise WeightsError(
            f"{path.with_suffix('.json')}: made for {manifest.arch.tile_px} px tiles and "
            f"{len(manifest.classes)} classes; this version runs {TILE_PX} px tiles and the "
            f"classes {', '.join(CLASSES)}"
        )
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a safetensors file ({error}); copy it again") from None
    return Bundle(path, manifest, {name: tensor.float() for name, tensor in tensors.items()})


def save_bundle(
    path: Path, parts: Mapping[str, nn.Module], arch: SvTinyArch, training: Mapping[str, Any]
) -> Manifest:
    """Write the weights and their manifest; float16 halves the file and costs no accuracy."""
    tensors = {k: v for part, module in parts.items() for k, v in _tensors(part, module).items()}
    return _write(path, tensors, Manifest(sha256="", arch=arch, training=dict(training)))


def add_part(
    bundle: Bundle, part: str, module: nn.Module, training: Mapping[str, Any], path: Path
) -> Manifest:
    """Write the bundle with one more part, or another one in its place, to `path`."""
    tensors = {k: _compact(v) for k, v in bundle.tensors.items() if not k.startswith(part + ".")}
    told = {**bundle.manifest.training, part: dict(training)}
    manifest = bundle.manifest.model_copy(update={"training": told})
    return _write(path, tensors | _tensors(part, module), manifest)


def _write(path: Path, tensors: dict[str, Tensor], manifest: Manifest) -> Manifest:
    data = save_tensors(tensors)
    manifest = manifest.model_copy(update={"sha256": hashlib.sha256(data).hexdigest()})
    path.write_bytes(data)
    path.with_suffix(".json").write_text(manifest.model_dump_json(indent=2) + "\n")
    return manifest


def _tensors(part: str, module: nn.Module) -> dict[str, Tensor]:
    return {
        f"{part}.{name}": _compact(tensor)
        for name, tensor in module.state_dict().items()
        if tensor.is_floating_point()
    }


def _compact(tensor: Tensor) -> Tensor:
    """A BatchNorm's variances may underflow in float16: vectors stay float32."""
    return tensor.to(torch.float16 if tensor.ndim > 1 else torch.float32).contiguous()


def _read_manifest(path: Path, sha256: str) -> Manifest:
    if not path.is_file():
        return Manifest(sha256=sha256)  # a user's own file: the default architecture
    try:
        return Manifest.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise WeightsError(
            f"{path}: not a streamvis weights manifest ({_reason(error)}); copy it again"
        ) from None


def _reason(error: Exception) -> str:
    """In one line: of a wrong form, the first key that is wrong."""
    if not isinstance(error, ValidationError):
        return str(error).splitlines()[0]
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
