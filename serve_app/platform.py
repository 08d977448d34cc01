"""Brings the platform up and takes it down.

Up, in this order; each step is reported as it goes:

1. lock the home, end what a killed run left;
2. the embedding model, exported if it is not there;
3. Postgres and Redis (or the operator's), then the databases migrated while
4. Ray's head node starts, under a guard, with the environment of `cluster_env`;
5. the graph, deployed by a process of its own, so that this one stays small.

This process then watches. When it ends, however it ends, everything it started ends with it.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from deployments.settings import Settings, with_dotenv
from kit import launcher
from kit.errors import SetupError
from kit.processes import find_by_open_file, stop
from kit.settings import variable_of
from kit.supervisor import Event, Supervisor
from serve_app.cluster_env import Ports, claim_ports, cluster_environment, proxy_directory, ray_directory
from serve_app.embedded.home import Home, open_home, write_private
from serve_app.embedded.ray import RayHead
from serve_app.embedded.services import ServiceUrls, start_services, stop_leftovers
from serve_app.state import KEY, STATE

DOWN_SECONDS = 8.0
DRAIN_SECONDS = 2.0
REDEPLOY_SECONDS = 5.0
DEPLOY_LOG = "deploy.log"

Report = Callable[[str, str], None]
"""Called with a step's name and what it is doing."""


@dataclass(frozen=True, slots=True)
class Running:
    """A platform that serves. `environment`: what a process of this cluster must see."""

    url: str
    api_key: str
    home: Home
    dashboard: str
    environment: Mapping[str, str]


@asynccontextmanager
async def running(settings: Settings, report: Report) -> AsyncIterator[Running]:
    """Bring the platform up for the time of the block. Raises SetupError with a remedy.

    Must be entered in the main thread: the kernel ends what a thread started when that thread ends.
    """
    from serve_app.tenants.service import ensure_platform  # Alembic takes a second that other commands need not wait

    home = open_home(settings.home)
    with home.lock(), claim_ports(home) as ports:
        await stop_all_leftovers(home)
        check_port(settings)
        report("model", "the embedding model")
        await _export_model(settings)
        events = _Events(report)
        async with Supervisor(home.run, home.logs, marker=home.marker, on_event=events) as supervisor:
            report("services", "Postgres and Redis")
            urls = await start_services(settings, supervisor, home)
            environment = _environment(settings, home, ports, urls)
            report("ray", "Ray's head node")
            async with asyncio.TaskGroup() as together:
                together.create_task(supervisor.start(RayHead(home, ports, environment)))
                name = f"development key of home {home.id}"  # homes that share a server keep a key each
                bootstrap = await ensure_platform(urls.database_url, home.secrets / KEY, key_name=name)
            for slug, reason in bootstrap.failed.items():
                report("note", f"tenant {slug} could not be migrated: {reason}")
            await _deploy(ports, environment, home.logs / DEPLOY_LOG, report)
            state = Running(
                f"http://{settings.server.host}:{settings.server.port}",
                bootstrap.api_key,
                home,
                f"http://127.0.0.1:{ports.dashboard}",
                environment,
            )
            write_private(home.run / STATE, orjson.dumps({"url": state.url, "dashboard": state.dashboard}).decode())
            redeploying = asyncio.create_task(
                _redeploy_after_restarts(events, ports, environment, home.logs / DEPLOY_LOG, report)
            )
            try:
                yield state
            finally:
                redeploying.cancel()
                await _drain(home)
                (home.run / STATE).unlink(missing_ok=True)


def check_port(settings: Settings) -> None:
    """Raise SetupError when the API's port is taken."""
    server = settings.server
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, server.port))
        except OSError as error:
            raise SetupError(
                f"Port {server.port} on {server.host} cannot be used: {error.strerror}.",
                "Stop what listens there, or choose another: penstock up --port 8001.",
            ) from None


async def stop_all_leftovers(home: Home) -> None:
    """End whatever an earlier run of this home left, Ray's orphans included. Hold the home's lock."""
    await stop_leftovers(home)
    folders = (ray_directory(home), proxy_directory(home))
    left = {process for folder in folders for process in find_by_open_file(folder)}
    if left:
        await asyncio.to_thread(stop, left, 1.0)


def take_down(path: Path) -> bool:
    """Stop the platform of a home and everything it left; whether there was one. Takes DOWN_SECONDS at most."""
    if not path.exists():
        return False
    home = open_home(path)
    holder = home.holder()
    if holder is not None:
        holder.send(signal.SIGTERM)
        deadline = time.monotonic() + DOWN_SECONDS - 1.5
        while holder.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        if holder.send(signal.SIGKILL):
            while holder.alive():
                time.sleep(0.02)
    with home.lock():
        asyncio.run(stop_all_leftovers(home))
        (home.run / STATE).unlink(missing_ok=True)
    return holder is not None


async def _drain(home: Home) -> None:
    """Refuse new connections and let the requests in flight end, for DRAIN_SECONDS at most.

    HAProxy stops by itself once the last connection closes (SIGUSR1).
    """
    proxies = find_by_open_file(proxy_directory(home))
    for proxy in proxies:
        proxy.send(signal.SIGUSR1)
    deadline = time.monotonic() + DRAIN_SECONDS
    while any(proxy.alive() for proxy in proxies) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)


async def _export_model(settings: Settings) -> None:
    """In a process of its own: exporting takes memory that this process would keep for as long as it runs."""
    if not settings.embedder.use_local:
        return
    command = [sys.executable, "-m", "deployments.embedder", str(settings.home), settings.embedder.precision]
    process = await asyncio.create_subprocess_exec(*_bound(command), stdin=asyncio.subprocess.DEVNULL)
    try:
        if await process.wait():
            raise SetupError("The embedding model cannot be used.", "The lines above say why.")
    finally:
        await _end(process)


def _environment(settings: Settings, home: Home, ports: Ports, urls: ServiceUrls) -> dict[str, str]:
    """What every process of the cluster sees: our environment, `.env` included, and what was decided here."""
    base = with_dotenv(os.environ)
    for key in ("database.url", "redis.url"):
        base.pop(variable_of(key), None)  # it would win over what was decided
    decided = {
        "PENSTOCK_SERVER__HOST": settings.server.host,
        "PENSTOCK_SERVER__PORT": str(settings.server.port),
        "PENSTOCK_SERVER__PROFILE": settings.server.profile,
    }
    return cluster_environment(home, ports, base={**base, **decided, **urls.environment()})


async def _deploy(ports: Ports, environment: Mapping[str, str], log: Path, report: Report) -> None:
    command = [sys.executable, "-m", "serve_app.deploy", "--address", f"127.0.0.1:{ports.gcs}"]
    log.touch(mode=0o600)
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *_bound(command),
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    assert process.stdout is not None
    report("graph", "Ray Serve")
    try:
        async for line in process.stdout:
            _report_deployment(line, report)
        if await process.wait():
            raise SetupError("The graph could not be deployed.", f"{log} says more.")
    finally:
        await _end(process)


def _bound(command: list[str]) -> list[str]:
    """The command, made to die with this process."""
    numbers = (os.getpid(), int(signal.SIGKILL), -1, -1)
    return [sys.executable, "-I", "-S", launcher.__file__, *map(str, numbers), str(Path.cwd()), *command]


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


def _report_deployment(line: bytes, report: Report) -> None:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return  # Ray's own chatter
    if event["event"] == "stage":
        report("graph", f"{event['name']}: {event['replicas']} of {event['of']} replicas ready")
    elif event["event"] == "failed":
        raise SetupError("The graph could not be deployed:", event["message"])


class _Events:
    """Passes the supervisor's events on, and remembers that Ray came back without its graph."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.ray_restarted = asyncio.Event()

    def __call__(self, event: Event) -> None:
        if event.kind in ("died", "restarted"):
            self._report("note", f"{event.service} {event.kind} {event.detail}".strip())
        if event.kind == "restarted" and event.service == RayHead.name:
            self.ray_restarted.set()


async def _redeploy_after_restarts(
    events: _Events, ports: Ports, environment: Mapping[str, str], log: Path, report: Report
) -> None:
    while True:
        await events.ray_restarted.wait()
        events.ray_restarted.clear()
        try:
            await _deploy(ports, environment, log, report)
        except SetupError as error:
            report("note", f"{error.message} Trying again in {REDEPLOY_SECONDS:.0f} s.")
            await asyncio.sleep(REDEPLOY_SECONDS)
            events.ray_restarted.set()
