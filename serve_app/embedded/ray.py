"""Ray's head node as one of the supervisor's services."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from kit import guard
from kit.supervisor import Service
from serve_app.cluster_env import READY, Ports, ray_directory
from serve_app.embedded.home import Home

STOP_SECONDS = 1.5
"""Ray's processes get this long between SIGTERM and SIGKILL. Requests were drained before; nothing here is precious."""


class RayHead(Service):
    """Runs under a guard, so that nothing that Ray starts outlives it."""

    name = "ray"
    stop_timeout = STOP_SECONDS + 2.0

    def __init__(self, home: Home, ports: Ports, environment: Mapping[str, str]) -> None:
        self._folder = ray_directory(home)
        self._ports = ports
        self._environment = environment

    def argv(self) -> list[str]:
        """The guard, which runs the head node."""
        head = [sys.executable, "-m", "serve_app.ray_head"]
        options = [f"--base-port={self._ports.base}", f"--temp-dir={self._folder}", f"--cpus={os.cpu_count() or 1}"]
        return [sys.executable, "-I", "-S", guard.__file__, str(STOP_SECONDS), *head, *options]

    def env(self) -> Mapping[str, str]:
        """The cluster's environment: workers inherit it."""
        return self._environment

    def folder(self) -> Path:
        """Ray's own folder: nothing of the caller's working folder leaks into the cluster."""
        return self._folder

    async def prepare(self) -> None:
        """Forget that an earlier node was ready."""
        (self._folder / READY).unlink(missing_ok=True)

    async def ready(self) -> bool:
        """Whether the head node answers."""
        return (self._folder / READY).exists()
