"""Serve profiles: where each stage runs and how it scales, from configs/profiles/NAME.yaml."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from deployments.settings import CONFIGS
from kit.errors import SetupError
from kit.settings import Section

StageName = Literal["embedder", "retriever", "reranker", "router", "provider_caller", "cache"]


DATABASE_USERS: tuple[StageName, ...] = ("retriever", "reranker", "router", "provider_caller")
"""Stages that use Postgres, beside the ingress."""

LEAST_CONNECTIONS = 2


class Autoscaling(Section):
    """When a stage gets more replicas, and when fewer. The names are Ray Serve's."""

    min_replicas: int = Field(1, ge=0)
    max_replicas: int = Field(2, ge=1)
    target_ongoing_requests: float = Field(8, gt=0)
    upscale_delay_s: float = Field(5, ge=0)
    downscale_delay_s: float = Field(60, ge=0)
    metrics_interval_s: float = Field(1, gt=0)
    look_back_period_s: float = Field(5, gt=0)

    @model_validator(mode="after")
    def _at_most_is_not_less(self) -> "Autoscaling":
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} is over max_replicas {self.max_replicas}")
        return self


class StagePlacement(Section):
    """Where one stage runs. All but `placement` describe a deployment and mean nothing for an inline stage."""

    placement: Literal["own", "inline"] = "own"
    num_cpus: float = Field(0.1, ge=0)
    max_ongoing_requests: int = Field(100, ge=1)
    max_queued_requests: int = Field(1000, ge=-1)
    graceful_shutdown_timeout_s: float = Field(20, ge=0)
    autoscaling: Autoscaling = Field(default_factory=Autoscaling)

    def most_replicas(self, max_workers: int | None) -> int:
        """How many replicas there can be; `max_workers` caps every stage."""
        most = self.autoscaling.max_replicas
        return most if max_workers is None else max(1, min(most, max_workers))

    def deployment_options(self, max_workers: int | None) -> dict[str, Any]:
        """Options of `serve.deployment`; no stage scales beyond `max_workers`."""
        scaling = self.autoscaling.model_dump() | {"max_replicas": self.most_replicas(max_workers)}
        scaling["min_replicas"] = min(scaling["min_replicas"], scaling["max_replicas"])
        return {
            "ray_actor_options": {"num_cpus": self.num_cpus},
            "max_ongoing_requests": self.max_ongoing_requests,
            "max_queued_requests": self.max_queued_requests,
            "graceful_shutdown_timeout_s": self.graceful_shutdown_timeout_s,
            "graceful_shutdown_wait_loop_s": 0.5,
            "health_check_period_s": 5,
            "autoscaling_config": scaling,
        }


class ServeProfile(Section):
    """One way to run the graph."""

    ingress: StagePlacement
    stages: dict[StageName, StagePlacement]

    def connection_share(self, budget: int, max_workers: int | None) -> int:
        """What one process may open of a connection budget: there is enough when all have scaled to their most."""
        users = [self.ingress, *(stage for name, stage in self.stages.items() if name in DATABASE_USERS)]
        processes = sum(stage.most_replicas(max_workers) for stage in users if stage.placement == "own")
        return max(LEAST_CONNECTIONS, budget // processes)

    def own_stages(self) -> list[StageName]:
        """Stages that are deployments of their own."""
        return [name for name, stage in self.stages.items() if stage.placement == "own"]


def load_profile(name: str, folder: Path = CONFIGS / "profiles") -> ServeProfile:
    """Read a profile. Raises SetupError that lists every wrong key."""
    file = folder / f"{name}.yaml"
    try:
        profile = ServeProfile.model_validate(yaml.safe_load(file.read_text("utf-8")))
    except FileNotFoundError:
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise SetupError(f"There is no serve profile {name!r}.", f"Profiles: {known}.") from None
    except (ValidationError, yaml.YAMLError) as error:
        raise SetupError(f"{file} is not a serve profile: {error}") from None
    missing = set(StageName.__args__) - set(profile.stages)  # type: ignore[attr-defined]
    if missing:
        raise SetupError(f"{file} does not place: {', '.join(sorted(missing))}.")
    return profile
