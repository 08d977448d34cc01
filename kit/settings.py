"""Loads typed settings from a YAML file, `.env` and the environment; reports everything that is wrong at once.

Later sources win: defaults, the environment's YAML file, `.env`, real environment variables. `PENSTOCK_A__B` sets the
key `b` of section `a`; a table of well-known names (`DATABASE_URL`, ...) maps to keys too. Secrets (`SecretStr`
fields) are accepted from the environment only.
"""

import difflib
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pydantic
import yaml
from dotenv import dotenv_values
from pydantic import BaseModel, SecretStr

from kit.errors import SetupError

PREFIX = "PENSTOCK_"
NESTING = "__"

T = TypeVar("T", bound=BaseModel)


class SettingsError(SetupError):
    """Settings that cannot be used. `problems` holds a line for each: the key, where it was set, what is allowed."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("The settings are wrong:\n" + "\n".join(f"  - {problem}" for problem in problems))

    def __reduce__(self) -> tuple[object, ...]:
        return (SettingsError, (self.problems,))


class Section(BaseModel):
    """A group of settings: unknown keys are errors, values do not change once loaded."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, pydantic.fields.FieldInfo]]:
    """Every leaf of a settings model as (dotted key, field), sections expanded."""
    for name, field in model.model_fields.items():
        section = _section_type(field.annotation)
        if section is not None:
            yield from keys(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def variable_of(key: str) -> str:
    """The environment variable that sets a dotted key."""
    return PREFIX + key.upper().replace(".", NESTING)


def load(
    model: type[T],
    *,
    file: Path | None,
    environ: Mapping[str, str],
    dotenv: Path | None,
    aliases: Mapping[str, str],
    reserved: Collection[str] = (),
) -> T:
    """Read, merge and validate.

    `aliases` maps well-known variable names to dotted keys; `reserved` names variables with our prefix that are no
    settings. Raises SettingsError listing every problem at once.
    """
    problems: list[str] = []
    known = dict(keys(model))
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    if file is not None:
        content = _read_yaml(file, problems)
        for key, value in _flatten(content, known):
            if key in known and is_secret(known[key]):
                problems.append(f"{key} ({file.name}): a secret is set by the environment only: {variable_of(key)}")
                continue
            merged[key], origin[key] = value, file.name
    layers: list[tuple[str, Mapping[str, str | None]]] = [("environment", environ)]
    if dotenv is not None and dotenv.is_file():
        layers.insert(0, (dotenv.name, dotenv_values(dotenv, interpolate=False)))
    by_variable = {variable_of(key): key for key in known} | dict(aliases)
    for label, variables in layers:
        # Our own names come last and win: another program may set a well-known one for itself.
        for name, raw in sorted(variables.items(), key=lambda item: (item[0].startswith(PREFIX), item[0])):
            if name in by_variable:
                if raw:
                    key = by_variable[name]
                    merged[key], origin[key] = _parse(raw, known[key].annotation), f"{name} in {label}"
            elif name.startswith(PREFIX) and name not in reserved:
                problems.append(f"{name} ({label}): no such setting.{_nearest(name, by_variable)}")
    settings = _validate(model, merged, origin, known, problems)
    if problems or settings is None:
        raise SettingsError(problems)
    return settings


def is_secret(field: pydantic.fields.FieldInfo) -> bool:
    """Whether a field holds a secret."""
    return SecretStr in (field.annotation, *typing.get_args(field.annotation))


def _section_type(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _read_yaml(file: Path, problems: list[str]) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text("utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        problems.append(f"{file}: cannot be read: {error}")
        return {}
    if not isinstance(content, dict):
        problems.append(f"{file}: must be a mapping of sections")
        return {}
    return content


def _flatten(tree: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key not in known:
            yield from _flatten(value, known, f"{key}.")
        else:
            yield key, value


def _parse(raw: str, annotation: Any) -> Any:
    """Lists and mappings come as JSON, or as comma-separated words; the rest is for pydantic to convert."""
    origins = {typing.get_origin(a) or a for a in (annotation, *_members(annotation))}
    if origins & {list, tuple, dict, set, frozenset}:
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            return [word.strip() for word in raw.split(",") if word.strip()]
    return raw


def _members(annotation: Any) -> tuple[Any, ...]:
    is_union = isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union
    return typing.get_args(annotation) if is_union else ()


def _validate(
    model: type[T],
    merged: Mapping[str, Any],
    origin: Mapping[str, str],
    known: Mapping[str, Any],
    problems: list[str],
) -> T | None:
    tree: dict[str, Any] = {}
    for key, value in merged.items():
        if key not in known:
            problems.append(f"{key} ({origin[key]}): no such setting.{_nearest(key, known)}")
            continue
        *parents, leaf = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    try:
        return model.model_validate(tree)
    except pydantic.ValidationError as error:
        for item in error.errors():
            path = [str(part) for part in item["loc"]]
            key = next((k for n in range(len(path), 0, -1) if (k := ".".join(path[:n])) in known), ".".join(path))
            given = "" if item["type"] == "missing" else f", not {_shown(item['input'], known.get(key))}"
            problems.append(f"{key} ({origin.get(key, 'not set')}): {_allowed(item)}{given}")
        return None


def _allowed(item: Any) -> str:
    message = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return message[0].lower() + message[1:]


def _shown(value: Any, field: pydantic.fields.FieldInfo | None) -> str:
    return "(hidden)" if field is not None and is_secret(field) else repr(value)


def _nearest(name: str, candidates: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, candidates, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(close)}?" if close else " `penstock config show` lists all settings."
