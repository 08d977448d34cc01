"""Deploys the graph onto a running Ray cluster and waits until it serves. Run by `penstock up` in a process of its own.

    python -m serve_app.deploy --address 127.0.0.1:20501

Writes JSON lines: {"event": "stage", "name": ..., "replicas": running, "of": wanted} as replicas come up, and at the
end {"event": "ready"}, or {"event": "failed", "message": ...} with exit code 1.
"""

import argparse
import logging
import sys
import time
from typing import Any

import orjson
import ray
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import ApplicationStatus

from deployments.settings import Settings, load_settings
from kit.errors import SetupError
from serve_app.graph import APPLICATION, build
from serve_app.profiles import load_profile

POLL_SECONDS = 0.2
LIMIT_SECONDS = 240.0


def deploy(settings: Settings, address: str) -> None:
    """Deploy and wait. Raises SetupError with the first replica's error when the graph does not come up."""
    profile = load_profile(settings.server.profile)
    ray.init(address=address, namespace=APPLICATION, log_to_driver=False, logging_level=logging.ERROR)
    serve.start(http_options=HTTPOptions(host=settings.server.host, port=settings.server.port))
    target = serve.RunTarget(build(settings, profile), name=APPLICATION, route_prefix="/")
    serve.run_many([target], wait_for_ingress_deployment_creation=True, wait_for_applications_running=False)
    _wait()


def _wait() -> None:
    known: dict[str, tuple[int, int]] = {}
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        application = serve.status().applications.get(APPLICATION)
        if application is not None:
            for name, deployment in application.deployments.items():
                counts = {str(state): number for state, number in deployment.replica_states.items()}
                state = (counts.get("RUNNING", 0), sum(counts.values()))
                if known.get(name) != state:
                    known[name] = state
                    _say(event="stage", name=name, replicas=state[0], of=state[1])
            if application.status == ApplicationStatus.RUNNING:
                return
            if application.status == ApplicationStatus.DEPLOY_FAILED:
                messages = [d.message for d in application.deployments.values() if d.message] or [application.message]
                raise SetupError(messages[0].strip(), "The logs of the replicas say more.")
        time.sleep(POLL_SECONDS)
    raise SetupError(f"The graph was not ready after {LIMIT_SECONDS:.0f} seconds.", "Is this machine out of memory?")


def _say(**event: Any) -> None:
    sys.stdout.write(orjson.dumps(event).decode() + "\n")
    sys.stdout.flush()


def main() -> None:
    """Command-line entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True, help="Ray's control store, host:port")
    address = parser.parse_args().address
    try:
        deploy(load_settings(dotenv=None), address)
    except SetupError as error:
        _say(event="failed", message=error.message)
        sys.exit(1)
    _say(event="ready")


if __name__ == "__main__":
    main()
