"""The policy table of configs/routing/NAME.yaml: which models serve which kind of question, in order."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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

PolicyName = Literal["rules", "cost", "speed", "quality"]
"""How models are put in order: as listed, by expected cost, by observed speed, by ranking."""


class TokenMix(Section):
    """Tokens of a typical request of an operation: what expected cost and time are computed for."""

    input: int = Field(gt=0)
    output: int = Field(gt=0)


class _OperationTable(Section):
    models: list[str] = Field(min_length=1)
    quality: list[str] = Field(min_length=1)
    tokens: TokenMix
    instruction: str | None = None


class _PolicyFile(Section):
    default_operation: str
    operations: dict[str, _OperationTable]
    speed: list[str] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class OperationPolicy:
    """models: in the order of the policy `rules`. quality: best first. instruction: a system prompt that the operation
    needs."""

    models: tuple[Entry, ...]
    quality: tuple[Entry, ...]
    tokens: TokenMix
    instruction: str | None


@dataclass(frozen=True, slots=True)
class Policy:
    """speed: the order of the policy `speed` while little is observed. version: changes with every change of the file
    or its prompts, so that cached answers of another policy are not reused."""

    name: str
    version: str
    default_operation: str
    operations: Mapping[str, OperationPolicy]
    speed: tuple[Entry, ...]


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
    problems = _problems(table, folder)
    if problems:
        raise SetupError(f"{file} is wrong: {'; '.join(problems)}.", "Correct the file.")
    operations = {operation: _operation(entry, folder) for operation, entry in table.operations.items()}
    prompts = "".join(entry.instruction or "" for entry in operations.values())
    return Policy(
        name=name,
        version=hashlib.sha256(content + prompts.encode()).hexdigest()[:12],
        default_operation=table.default_operation,
        operations=operations,
        speed=_entries(table.speed),
    )


def entry_of(text: str) -> Entry:
    """`provider/model` as a pair. Raises ValueError for anything else."""
    # Model ids may have slashes of their own (`groq/openai/gpt-oss-20b`): the first one ends the provider.
    provider, _, model = text.partition("/")
    if not provider or not model:
        raise ValueError(f"{text!r} is not provider/model")
    return provider, model


def _operation(table: _OperationTable, folder: Path) -> OperationPolicy:
    instruction = _prompt(table.instruction, folder).read_text("utf-8").strip() if table.instruction else None
    return OperationPolicy(_entries(table.models), _entries(table.quality), table.tokens, instruction)


def _prompt(name: str, folder: Path) -> Path:
    return folder / "prompts" / f"{name}.md"


def _problems(table: _PolicyFile, folder: Path) -> list[str]:
    problems = [f"operations.{name} is missing" for name in OPERATIONS if name not in table.operations]
    problems += [f"operations.{name} is no operation type" for name in table.operations if name not in OPERATIONS]
    if table.default_operation not in OPERATIONS:
        problems.append(f"default_operation must be one of {', '.join(OPERATIONS)}")
    places = {"speed": table.speed}
    for name, entry in table.operations.items():
        places |= {f"operations.{name}.models": entry.models, f"operations.{name}.quality": entry.quality}
        if entry.instruction and not _prompt(entry.instruction, folder).is_file():
            problems.append(f"operations.{name}.instruction: there is no {_prompt(entry.instruction, folder)}")
    return problems + [f"{place}: {problem}" for place, words in places.items() for problem in _misspelt(words)]


def _misspelt(words: list[str]) -> list[str]:
    problems = []
    for word in words:
        try:
            entry_of(word)
        except ValueError as error:
            problems.append(str(error))
    return problems


def _entries(words: list[str]) -> tuple[Entry, ...]:
    return tuple(entry_of(word) for word in words)
