"""The composition root: binds the seven stages into one Ray Serve application, placed as a serve profile says."""

from typing import Any, cast

from ray import serve
from ray.serve import Application
from ray.serve.schema import LoggingConfig

from deployments.settings import Settings
from serve_app.assembly import NEEDS
from serve_app.profiles import ServeProfile, StageName, StagePlacement
from serve_app.replicas import (
    CacheReplica,
    EmbedderReplica,
    IngressReplica,
    ProviderCallerReplica,
    RerankerReplica,
    RetrieverReplica,
    RouterReplica,
    StageReplica,
)

APPLICATION = "penstock"

REPLICAS: dict[StageName, type[StageReplica]] = {
    "embedder": EmbedderReplica,
    "retriever": RetrieverReplica,
    "reranker": RerankerReplica,
    "router": RouterReplica,
    "provider_caller": ProviderCallerReplica,
    "cache": CacheReplica,
}


def build(settings: Settings, profile: ServeProfile) -> Application:
    """The application. A stage's replica gets the handles of the stages that it calls, the ingress gets all."""
    # The ingress writes the access log; Serve's would say everything twice.
    logging = LoggingConfig(encoding="JSON", log_level=settings.log_level, enable_access_log=False)

    def options(stage: StagePlacement) -> dict[str, Any]:
        return stage.deployment_options(settings.server.max_workers) | {"logging_config": logging}

    bound: dict[str, Application] = {}
    for name, needs in NEEDS.items():
        stage = profile.stages[name]
        if stage.placement == "own":
            handles: dict[str, Application] = {needed: bound[needed] for needed in needs if needed in bound}
            bound[name] = _bind(name, REPLICAS[name], options(stage), handles)
    return _bind("ingress", serve.ingress()(IngressReplica), options(profile.ingress), bound)


def _bind(name: str, replica: type[Any], options: dict[str, Any], handles: dict[str, Application]) -> Application:
    deployment: Any = serve.deployment(replica, name=name, **options)
    return cast(Application, deployment.bind(handles))
