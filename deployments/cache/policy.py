"""How long answers live and which may be kept at all: configs/cache.yaml."""

from pathlib import Path
from typing import Literal

import pydantic
import yaml
from pydantic import Field

from deployments.cache.config import CacheConfig
from deployments.settings import CONFIGS
from kit.errors import SetupError
from kit.settings import Section

FILE = CONFIGS / "cache.yaml"


class _Sampling(Section):
    maximum_temperature: float = Field(ge=0)
    unnamed_temperature: Literal["always", "grounded", "never"]


class _PolicyFile(Section):
    ttl: dict[str, int]
    sampling: _Sampling


class CachePolicy:
    """Times to live by operation type, and what sampling is cached. Raises SetupError for a wrong file."""

    def __init__(self, config: CacheConfig, file: Path = FILE) -> None:
        try:
            table = _PolicyFile.model_validate(yaml.safe_load(file.read_text("utf-8")))
        except (OSError, yaml.YAMLError, pydantic.ValidationError) as error:
            raise SetupError(f"{file} cannot be used: {error}", "Correct the file.") from error
        self._default = config.ttl
        self._ttl = table.ttl
        self._sampling = table.sampling

    def ttl(self, operation: str) -> int:
        """Seconds that an answer of this type lives; 0: it is not stored."""
        return max(0, self._ttl.get(operation, self._default))

    def admits_temperature(self, temperature: float | None, *, grounded: bool) -> bool:
        """Whether a request with this temperature (None: it names none) may be answered from the cache."""
        if temperature is None:
            unnamed = self._sampling.unnamed_temperature
            return unnamed == "always" or (unnamed == "grounded" and grounded)
        return temperature <= self._sampling.maximum_temperature
