"""The policy table of configs/routing/NAME.yaml: which models serve which kind of question, in order."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pydantic
import yaml
from pydantic import Field

from deployments.router.rules import OPERATIONS
from deployments.settings import CONFIGS
from kit.errors import SetupError
from kit.settings import Section

ROUTING = CONFIGS / "routing"

Entry = tuple[str, str]
"""(provider, model); the model `*` stands for every model of the provider."""


class _PolicyFile(Section):
    default_operation: str
    operations: dict[str, list[str]]
    speed: list[str] = Field(min_length=1)
    quality: list[str] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Policy:
    """version: changes with every change of the file, so that cached answers of another policy are not reused."""

    name: str
    version: str
    default_operation: str
    operations: dict[str, tuple[Entry, ...]]
    speed: tuple[Entry, ...]
    quality: tuple[Entry, ...]


def load_policy(name: str, folder: Path = ROUTING) -> Policy:
    """Read and check a policy table. Raises SetupError that lists everything wrong."""
    file = folder / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise SetupError(f"There is no routing policy {name!r}.", f"router.policy may be one of: {known}.")
    content = file.read_bytes()
    try:
        table = _PolicyFile.model_validate(yaml.safe_load(content))
    except (yaml.YAMLError, pydantic.ValidationError) as error:
        raise SetupError(f"{file} is wrong: {error}", "Correct the file.") from error
    problems = _problems(table)
    if problems:
        raise SetupError(f"{file} is wrong: {'; '.join(problems)}.", "Correct the file.")
    return Policy(
        name=name,
        version=hashlib.sha256(content).hexdigest()[:12],
        default_operation=table.default_operation,
        operations={operation: _entries(words) for operation, words in table.operations.items()},
        speed=_entries(table.speed),
        quality=_entries(table.quality),
    )


def _problems(table: _PolicyFile) -> list[str]:
    problems = [f"operations.{name} is missing" for name in OPERATIONS if not table.operations.get(name)]
    problems += [f"operations.{name} is no operation type" for name in table.operations if name not in OPERATIONS]
    if table.default_operation not in OPERATIONS:
        problems.append(f"default_operation must be one of {', '.join(OPERATIONS)}")
    for place, words in (("speed", table.speed), ("quality", table.quality), *table.operations.items()):
        problems += [f"{place}: {word!r} is not provider/model" for word in words if not all(_split(word))]
    return problems


def _entries(words: list[str]) -> tuple[Entry, ...]:
    return tuple(_split(word) for word in words)


def _split(word: str) -> Entry:
    # Model ids may have slashes of their own (`groq/openai/gpt-oss-20b`): the first one ends the provider.
    provider, _, model = word.partition("/")
    return provider, model
