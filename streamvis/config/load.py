"""YAML files -> checked config models, with errors that name file, line and key.

Three additions to plain YAML:
    ${VAR:-default}      in any value: an environment variable, or the default
    use: ../other.yaml   in any mapping: the other file's keys, which the ones beside it override
    --set a.b=value      from the command line, applied last
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from streamvis.config.model import ConfigModel, Located
from streamvis.errors import ConfigError

T = TypeVar("T", bound=ConfigModel)
Key = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_MAX_USE_DEPTH = 8
_MAX_VALUES = 10_000


@dataclass(frozen=True)
class _Place:
    file: str
    line: int  # 0 for the command line

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


def load_config(
    path: Path,
    model: type[T],
    overrides: Sequence[str] = (),
    context: Mapping[str, Any] | None = None,
) -> T:
    """Read, complete and check a YAML file.

    `overrides` are `key.path=value` strings, as given to `--set`; `context` is what the command
    line says beside the file, for the models' validators.
    Raises ConfigError with one sentence: file, line, key path, and the nearest valid name.
    """
    places: dict[Key, _Place] = {}
    data = _read_mapping(path, (), places, depth=0)
    return _check(data, model, overrides, places, path, context)


def check_config(
    data: dict[str, Any], model: type[T], overrides: Sequence[str] = (), *, origin: Path
) -> T:
    """The same for values that do not come from a YAML file; `origin` is named in errors."""
    return _check(data, model, overrides, {}, origin)


def read_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """The values of `key.path=value` strings alone, nested as their keys are. Raises
    ConfigError."""
    data: dict[str, Any] = {}
    for text in overrides:
        _apply_override(data, text, {})
    return data


def _check(
    data: dict[str, Any],
    model: type[T],
    overrides: Sequence[str],
    places: dict[Key, _Place],
    path: Path,
    context: Mapping[str, Any] | None = None,
) -> T:
    for text in overrides:
        _apply_override(data, text, places)
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        raise ConfigError(_explain(error, model, places, path)) from None


def _read_mapping(path: Path, at: Key, places: dict[Key, _Place], depth: int) -> dict[str, Any]:
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read this file: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file; expected YAML in UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(_explain_yaml(error, path)) from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deep; no pipeline needs that") from None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}: expected `key: value` lines at the top of the file")
    try:
        return _Reader(path, places, depth).mapping(root, at)
    except RecursionError:
        raise ConfigError(f"{path}: an alias (*) refers to itself; remove it") from None


class _Reader:
    """Turns one file's YAML nodes into plain values and notes where each one stands."""

    def __init__(self, path: Path, places: dict[Key, _Place], depth: int) -> None:
        self._path = path
        self._places = places
        self._depth = depth

    def mapping(self, node: yaml.MappingNode, at: Key) -> dict[str, Any]:
        own: dict[str, Any] = {}
        used: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            place = _Place(str(self._path), key_node.start_mark.line + 1)
            if key in own:
                raise ConfigError(f"{place}: {_dotted((*at, key))} is given twice; rename one")
            if key == "use":
                used = self._use(value_node, at, place)
                continue
            own[key] = self._value(value_node, (*at, key))
            self._places[(*at, key)] = place
        return _merge(used, own)

    def _use(self, node: yaml.Node, at: Key, place: _Place) -> dict[str, Any]:
        if self._depth >= _MAX_USE_DEPTH:
            raise ConfigError(f"{place}: `use` goes in a circle, or deeper than {_MAX_USE_DEPTH}")
        name = self._value(node, (*at, "use"))
        if not isinstance(name, Located) or not name:
            raise ConfigError(f"{place}: `use` takes the path of a YAML file, got {name!r}")
        target = name.base / name
        if not target.is_file():
            raise ConfigError(f"{place}: {_dotted((*at, 'use'))}: there is no file {target}")
        return _read_mapping(target, at, self._places, self._depth + 1)

    def _value(self, node: yaml.Node, at: Key) -> Any:
        self._places[at] = _Place(str(self._path), node.start_mark.line + 1)
        if len(self._places) > _MAX_VALUES:  # aliases of aliases multiply
            raise ConfigError(f"{self._places[at]}: more than {_MAX_VALUES} values; use fewer (*)")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*at, i)) for i, item in enumerate(node.value)]
        try:
            value = yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError):
            raise ConfigError(
                f"{self._places[at]}: {_dotted(at)}: {node.value!r} is not a plain value; quote it"
            ) from None
        return self._expand(value, at) if isinstance(value, str) else value

    def _expand(self, text: str, at: Key) -> Located:
        from_shell = False

        def substitute(match: re.Match[str]) -> str:
            nonlocal from_shell
            name, default = match.groups()
            value = os.environ.get(name)
            if value:
                from_shell = True
                return value
            if default is None:
                raise ConfigError(
                    f"{self._places[at]}: {_dotted(at)}: the environment variable {name} is not "
                    f"set; set it, or give a default as ${{{name}:-default}}"
                )
            return default

        expanded = _VARIABLE.sub(substitute, text)
        return Located(expanded, Path.cwd() if from_shell else self._path.parent)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _apply_override(data: dict[str, Any], text: str, places: dict[Key, _Place]) -> None:
    dotted, equals, raw = text.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set takes key.path=value, got {text!r}")
    try:
        value = _located(yaml.safe_load(raw))
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"--set {dotted}: {raw!r} is not a YAML value; quote it") from None
    target: Any = data
    for depth, key in enumerate(keys[:-1]):
        target = _child(target, key, keys[: depth + 1])
    if isinstance(target, list):
        target[_list_index(target, keys[-1], keys)] = value
    else:
        target[keys[-1]] = value
    places[tuple(int(k) if k.isdigit() else k for k in keys)] = _Place("--set", 0)


def _child(target: Any, key: str, path: list[str]) -> Any:
    if isinstance(target, list):
        return target[_list_index(target, key, path)]
    child = target.setdefault(key, {})
    if not isinstance(child, (dict, list)):
        raise ConfigError(f"--set {'.'.join(path)}: this is a value, not a group of keys")
    return child


def _list_index(target: list[Any], key: str, path: list[str]) -> int:
    if not key.isdigit() or int(key) >= len(target):
        raise ConfigError(f"--set {'.'.join(path)}: the list has entries 0 to {len(target) - 1}")
    return int(key)


def _located(value: Any) -> Any:
    if isinstance(value, str):
        return Located(value, Path.cwd())
    if isinstance(value, list):
        return [_located(item) for item in value]
    if isinstance(value, dict):
        return {key: _located(item) for key, item in value.items()}
    return value


def _explain_yaml(error: yaml.YAMLError, path: Path) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    return f"{where}: not valid YAML: {getattr(error, 'problem', None) or error}"


def _explain(
    error: ValidationError, model: type[ConfigModel], places: Mapping[Key, _Place], path: Path
) -> str:
    at: Key = error.errors()[0]["loc"]
    place = next((places[at[:n]] for n in range(len(at), 0, -1) if at[:n] in places), path)
    return f"{place}: {explain(error, model)}"


def explain(error: ValidationError, model: type[ConfigModel]) -> str:
    """The first thing that is wrong: the key's path, and why."""
    first = error.errors(include_input=False, include_url=False)[0]
    at: Key = first["loc"]
    if first["type"] == "extra_forbidden":
        names = sorted(_names_at(model.model_json_schema(), at[:-1]))
        near = difflib.get_close_matches(str(at[-1]), names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"valid here: {', '.join(names)}"
        return f"{_dotted(at)}: unknown key; {hint}"
    if first["type"] == "missing":
        return f"{_dotted(at)}: this key is required"
    message = first["msg"].removeprefix("Value error, ")
    return f"{_dotted(at)}: {message}" if at else message


def _names_at(schema: Mapping[str, Any], at: Key) -> set[str]:
    """The keys a JSON Schema allows at a place in a document."""
    nodes = [schema]
    for key in at:
        nodes = [child for node in nodes for child in _children(node, key, schema)]
    return {name for node in nodes for name in _deref(node, schema).get("properties", {})}


def _children(
    node: Mapping[str, Any], key: str | int, schema: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    node = _deref(node, schema)
    found = node.get("items") if isinstance(key, int) else node.get("properties", {}).get(key)
    found = found or node.get("additionalProperties")
    if isinstance(found, Mapping):
        yield from (_deref(option, schema) for option in found.get("anyOf", [found]))


def _deref(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = node.get("$ref")
    return schema["$defs"][reference.rsplit("/", 1)[-1]] if reference else node


def _dotted(at: Key) -> str:
    return ".".join(map(str, at))
