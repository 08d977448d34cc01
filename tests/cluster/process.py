"""`penstock up` as a process of a test, in a home of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson
import psutil

from kit.processes import ProcessIdentity

READY_SECONDS = 240
MODEL = "mock-model"


@dataclass
class Platform:
    """A `penstock up` that was started by a test."""

    home: Path
    port: int
    process: "subprocess.Popen[bytes]"
    environment: Mapping[str, str]
    members: set[ProcessIdentity] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return (self.home / "secrets" / "api_key").read_text().strip()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def client(self, **options: object) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers=self.headers, timeout=60, **options)  # type: ignore[arg-type]

    def command(self, *arguments: str, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
        """Run another `penstock` command of the same home."""
        return subprocess.run(
            [sys.executable, "-m", "serve_app.cli", *arguments],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def events(self) -> list[dict[str, object]]:
        """What `up --json` has printed so far."""
        lines = (self.home.parent / "up.out").read_bytes().splitlines()
        return [orjson.loads(line) for line in lines if line.startswith(b"{")]

    def wait_ready(self) -> "Platform":
        deadline = time.monotonic() + READY_SECONDS
        while not any(event["event"] == "ready" for event in self.events()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.home.parent / "up.out").read_text() + "\n" + self.log())
            time.sleep(0.1)
        return self

    def wait_step(self, step: str) -> None:
        """Until `up` is at this step."""
        deadline = time.monotonic() + READY_SECONDS
        while not any(event.get("step") == step for event in self.events()):
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def log(self) -> str:
        return (self.home.parent / "up.err").read_text()[-4000:]

    def processes(self) -> set[ProcessIdentity]:
        """Every process of the platform that lives now."""
        root = psutil.Process(self.process.pid)
        found = {ProcessIdentity.of(member.pid) for member in [root, *root.children(recursive=True)]}
        return {identity for identity in found if identity is not None}

    def replicas(self, stage: str) -> list[psutil.Process]:
        """The processes of a stage's replicas, known by the title that Ray gives them."""
        found = []
        for identity in self.processes():
            try:
                process = psutil.Process(identity.pid)
                if process.name().startswith("ray::") and f":{stage}" in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def down(self) -> "subprocess.CompletedProcess[str]":
        result = self.command("down", "--json")
        self.process.wait(20)
        return result


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(*arguments: str, models: Path | None = None, **environment: str) -> Platform:
    """Start `penstock up` in a new home; does not wait. models: a folder with exported models to share."""
    folder = Path(tempfile.mkdtemp(prefix="psc-"))
    folder.chmod(0o755)  # the servers' user must get through
    home = folder / "h"
    home.mkdir(mode=0o700)
    if models is not None:
        shutil.copytree(models, home / "models")
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "RAY_"))}
    variables = {**inherited, **environment, "PENSTOCK_HOME": str(home), "PENSTOCK_SERVER__PORT": str(port)}
    with (folder / "up.out").open("wb") as out, (folder / "up.err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve_app.cli", "up", "--json", *arguments],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    return Platform(home, port, process, variables)


def remove(platform: Platform) -> None:
    """Stop what is left and delete the home."""
    if platform.process.poll() is None:
        platform.process.send_signal(signal.SIGTERM)
        try:
            platform.process.wait(30)
        except subprocess.TimeoutExpired:
            platform.process.kill()
    platform.command("down")
    shutil.rmtree(platform.home.parent, ignore_errors=True)
