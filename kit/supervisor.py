"""Starts services in order, watches them, starts them again when they die, stops them in reverse order.

Each service is recorded in the run folder (`<name>.json`: pid and start time) while it runs, so that whoever comes
after a killed supervisor can end what it left. Services also die with the supervisor (`Service.death_signal`).
"""

import asyncio
import json
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kit.errors import SetupError
from kit.processes import Account, ProcessIdentity, spawn, stop

POLL_SECONDS = 0.05
LONGEST_WAIT = 10.0
"""Seconds between two attempts to start a service that keeps dying."""
STEADY_SECONDS = 30.0
"""A service that lived this long starts again without a wait."""
LOG_LINES = 12
LOG_BYTES = 10_000_000
"""A longer log is moved aside (`<name>.log.1`) before a start."""


class StartError(SetupError):
    """A service ended before it was ready; the message holds its last log lines."""


class Service(ABC):
    """One long-running program. Subclasses say what to run and when it is ready."""

    name: str
    account: Account | None = None
    """Whom it runs as; None: as the supervisor."""
    stop_signal: int = signal.SIGTERM
    death_signal: int | None = signal.SIGTERM
    """What it gets when the supervisor dies; None: it lives on."""
    stop_timeout: float = 3.0
    """Seconds from the stop signal to SIGKILL."""
    remedy: str = ""
    """What an operator can do when it does not start."""

    @abstractmethod
    def argv(self) -> list[str]:
        """The command: an absolute path and arguments, none of them secret."""

    def env(self) -> Mapping[str, str]:
        """Its environment, beside the supervisor's marker."""
        return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

    def folder(self) -> Path:
        """Its working folder."""
        return Path("/")

    async def prepare(self) -> None:  # noqa: B027 - most services have nothing to prepare
        """Called before each start; may raise SetupError."""

    @abstractmethod
    async def ready(self) -> bool:
        """Whether it answers. Asked again and again while the program runs, without a limit: replaying a long log is
        not a failure. May raise SetupError when waiting is pointless."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that an operator may want to see. `detail`: for `died`, the exit status and last log lines."""

    kind: Literal["starting", "ready", "died", "restarted", "stopped"]
    service: str
    detail: str = ""


class Supervisor:
    """Use as `async with`: leaving the block stops all services. Starts must happen in the main thread."""

    def __init__(
        self,
        run: Path,
        logs: Path,
        *,
        marker: tuple[str, str],
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        """run: folder of the process records. marker: an environment variable that all services carry."""
        self.run, self.logs, self.marker, self.on_event = run, logs, marker, on_event
        self._running: list[_Running] = []

    async def __aenter__(self) -> "Supervisor":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self, service: Service) -> None:
        """Start a service, wait until it is ready, watch it from then on.

        Raises StartError as soon as the program ends instead, and whatever `prepare` and `ready` raise; it then does
        not run. When this call is cancelled, the service stays under the supervisor's care until `stop`.
        """
        running = _Running(service)
        self._running.append(running)
        try:
            await self._launch(running)
        except Exception:
            await self._end(running, running.service.stop_timeout)
            raise
        self.on_event(Event("ready", service.name))
        running.watch = asyncio.create_task(self._watch(running), name=f"watch {service.name}")

    def identity(self, name: str) -> ProcessIdentity | None:
        """The process of a service; None when it does not run at the moment."""
        return next((r.identity for r in self._running if r.service.name == name and r.popen is not None), None)

    async def stop(self, timeout: float = 8.0) -> None:
        """Stop all services, the last started first, within `timeout` seconds in all."""
        deadline = time.monotonic() + timeout
        while self._running:
            running = self._running[-1]
            left = max(0.5, deadline - time.monotonic())
            await self._end(running, min(running.service.stop_timeout, left))
            self.on_event(Event("stopped", running.service.name))

    async def _launch(self, running: "_Running") -> None:
        service = running.service
        self.on_event(Event("starting", service.name))
        await service.prepare()
        log = self._log(service)
        running.log_start = log.stat().st_size if log.exists() else 0
        running.popen = spawn(
            service.argv(),
            env={**service.env(), self.marker[0]: self.marker[1]},
            cwd=service.folder(),
            log=log,
            account=service.account,
            death_signal=service.death_signal,
        )
        running.identity = ProcessIdentity.of(running.popen.pid)
        if running.identity is not None:
            _write_record(self.run, service, running.identity)
        while True:
            if (status := running.popen.poll()) is not None:
                lines = "\n".join(last_lines(log, running.log_start))
                what = f"{service.name} ended with status {status} while it started:\n{lines}"
                raise StartError(what, service.remedy)
            if await service.ready():
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _watch(self, running: "_Running") -> None:
        """Start the service again whenever it ends, after a wait that grows while it keeps dying."""
        service = running.service
        wait = 0.0
        while True:
            started = time.monotonic()
            status = await running.ended()
            lines = "\n".join(last_lines(self._log(service), running.log_start))
            self.on_event(Event("died", service.name, f"status {status}\n{lines}"))
            wait = 0.0 if time.monotonic() - started > STEADY_SECONDS else wait
            while True:
                await asyncio.sleep(wait)
                wait = min(LONGEST_WAIT, wait * 2 or 0.2)
                try:
                    await self._launch(running)
                except Exception as error:
                    # Whatever keeps it from starting may pass; giving up would leave it without a watch.
                    self.on_event(Event("died", service.name, str(error)))
                    continue
                self.on_event(Event("restarted", service.name))
                break

    async def _end(self, running: "_Running", timeout: float) -> None:
        if running.watch is not None:
            running.watch.cancel()
            await asyncio.wait([running.watch])
        if running.identity is not None:
            number = running.service.stop_signal
            await asyncio.to_thread(stop, [running.identity], timeout, stop_signal=number)
        if running.popen is not None:
            running.popen.wait()
        (self.run / f"{running.service.name}.json").unlink(missing_ok=True)
        if running in self._running:
            self._running.remove(running)

    def _log(self, service: Service) -> Path:
        path = self.logs / f"{service.name}.log"
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path


@dataclass(eq=False)
class _Running:
    """A service under supervision."""

    service: Service
    popen: "subprocess.Popen[bytes] | None" = None
    identity: ProcessIdentity | None = None
    log_start: int = 0
    watch: "asyncio.Task[None] | None" = None

    async def ended(self) -> int | None:
        """Wait for the end of the program; its exit status."""
        while self.popen is not None and self.popen.poll() is None:
            await asyncio.sleep(POLL_SECONDS)
        return self.popen.returncode if self.popen is not None else None


@dataclass(frozen=True, slots=True)
class Record:
    """A service as its supervisor wrote it down."""

    service: str
    process: ProcessIdentity
    stop_signal: int


def recorded(run: Path) -> list[Record]:
    """The services that a supervisor recorded in its run folder and that still live, the last started first."""
    found = []
    for path in sorted(run.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            entry = json.loads(path.read_text())
            record = Record(path.stem, ProcessIdentity(entry["pid"], entry["started"]), entry["stop_signal"])
        except (ValueError, KeyError, TypeError):
            continue  # another kind of file
        if record.process.alive():
            found.append(record)
    return found


def stop_recorded(run: Path, timeout: float) -> list[str]:
    """End what a killed supervisor left, each within `timeout` seconds; the services' names. Blocks."""
    records = recorded(run)
    for record in records:
        stop([record.process], timeout, stop_signal=record.stop_signal)
    return [record.service for record in records]


def last_lines(log: Path, start: int = 0) -> list[str]:
    """The end of a log, nothing from before byte `start`."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - 16_384))
        return file.read().decode(errors="replace").splitlines()[-LOG_LINES:]


def _write_record(run: Path, service: Service, process: ProcessIdentity) -> None:
    entry = {"pid": process.pid, "started": process.started, "stop_signal": int(service.stop_signal)}
    temporary = run / f"{service.name}.tmp"
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(entry))
    temporary.replace(run / f"{service.name}.json")
