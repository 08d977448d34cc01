"""The `cluster` profile on two Ray nodes of one machine, deployed as docs/operators/cluster.md says."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from kit.supervisor import Supervisor
from serve_app.cluster_env import Ports, claim_ports, cluster_environment, ray_directory, token_file
from serve_app.embedded.home import Home, open_home
from serve_app.embedded.ray import RayHead
from serve_app.jobs import Jobs
from serve_app.platform import stop_all_leftovers
from serve_app.profiles import load_profile
from serve_app.state import read_key, read_state
from tests.cluster.process import free_port
from tests.conftest import Services

COLLECTION = "two-nodes"
LESSON = "# Oceans\n\nThe Mariana Trench is the deepest place in the oceans, almost eleven kilometres down.\n"
QUESTION = {"question": "Which place in the oceans is the deepest?", "collection": COLLECTION}


@dataclass(frozen=True)
class Cluster:
    """Two nodes and the graph on them."""

    url: str
    headers: Mapping[str, str]
    head: psutil.Process
    second: psutil.Process
    """The raylets: every worker process of a node is a child of its raylet."""

    async def ask(self) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, headers=self.headers, timeout=20) as client:
            return await client.post("/api/v1/ai-tutor/query", json=QUESTION)


def replicas(raylet: psutil.Process) -> Counter[str]:
    """Replicas by stage on one node."""
    found: Counter[str] = Counter()
    for worker in raylet.children():
        try:
            title = worker.cmdline()
        except psutil.NoSuchProcess:
            continue
        if title and title[0].startswith("ray::ServeReplica:"):
            found[title[0].split(":")[-1].split("#")[0]] += 1
    return found


def raylet_of(node: psutil.Process) -> psutil.Process:
    return next(process for process in node.children(recursive=True) if process.name() == "raylet")


@contextmanager
def joined(ports: Ports, environment: Mapping[str, str], folder: Path) -> Iterator[psutil.Process]:
    """A second node that has joined, with HAProxy's files and ports of its own, as on another machine."""
    folder.mkdir(mode=0o700)
    own = {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
    }
    log = folder / "log"
    with log.open("wb") as output:
        node = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("second_node.py")), f"127.0.0.1:{ports.gcs}", "2"],
            env={**environment, **own},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + 60
    while b"joined" not in log.read_bytes():
        assert node.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    try:
        yield raylet_of(psutil.Process(node.pid))
    finally:
        node.terminate()
        node.wait(20)


async def run(command: list[str], environment: Mapping[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, env=dict(environment), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def ingest(home: Home, ports: Ports) -> None:
    lessons = home.path / "lessons"
    lessons.mkdir()
    (lessons / "oceans.md").write_text(LESSON)
    command = [sys.executable, "-m", "pipelines.ingest", "--path", str(lessons), "--collection", COLLECTION]
    async with Jobs(f"http://127.0.0.1:{ports.dashboard}", token_file(home).read_text().strip()) as jobs:
        job = await jobs.submit([*command, "--tenant", "default"])
        events = [event async for event in jobs.events(job)]
    assert events[-1]["event"] == "summary", events


@pytest.fixture(scope="module")
async def cluster(services: Services, model_home: Path) -> AsyncIterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="ps2-"))
    folder.chmod(0o755)
    home = open_home(folder / "h")
    shutil.copytree(model_home / "models", home.models, dirs_exist_ok=True)
    port = free_port()
    base = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "RAY_"))}
    base |= {
        "DATABASE_URL": services.database_url,
        "REDIS_URL": services.redis_url,
        "PENSTOCK_SERVER__PORT": str(port),
        "PENSTOCK_SERVER__PROFILE": "cluster",
        # A lost node is noticed in three seconds, not in fifteen.
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_failure_threshold": "3",
    }
    try:
        with home.lock(), claim_ports(home) as ports:
            environment = cluster_environment(home, ports, base=base)
            async with Supervisor(home.run, home.logs, marker=home.marker) as supervisor:
                await supervisor.start(RayHead(home, ports, environment))
                head = next(
                    process
                    for process in psutil.process_iter()
                    if process.name() == "raylet" and str(ray_directory(home)) in " ".join(process.cmdline())
                )
                with joined(ports, environment, folder / "n2") as second:
                    operator = folder / "operator"
                    deploy = [sys.executable, "-m", "serve_app.on_premises", "deploy"]
                    await asyncio.gather(
                        run(
                            [*deploy, "--address", f"127.0.0.1:{ports.gcs}"],
                            {**environment, "PENSTOCK_HOME": str(operator)},
                        ),
                        ingest(home, ports),
                    )
                    headers = {"Authorization": f"Bearer {read_key(operator)}"}
                    assert read_state(operator)["url"] == f"http://127.0.0.1:{port}"
                    yield Cluster(f"http://127.0.0.1:{port}", headers, head, second)
    finally:
        with home.lock():
            await stop_all_leftovers(home)
        shutil.rmtree(folder, ignore_errors=True)


async def test_replicas_run_on_both_nodes_and_a_lost_node_is_made_up_for(cluster: Cluster) -> None:
    on_head, on_second = replicas(cluster.head), replicas(cluster.second)
    assert on_head
    assert on_second
    answer = await cluster.ask()
    assert answer.status_code == 200, answer.text
    assert "Mariana" in answer.json()["answer"]

    profile = load_profile("cluster")
    wanted = {name: stage.autoscaling.min_replicas for name, stage in profile.stages.items()}
    wanted["ingress"] = profile.ingress.autoscaling.min_replicas
    assert on_head + on_second == wanted

    os.kill(cluster.second.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while replicas(cluster.head) != wanted and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    assert replicas(cluster.head) == wanted

    while (answer := await cluster.ask()).status_code != 200 and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
    assert [(await cluster.ask()).status_code for _ in range(10)] == [200] * 10
    assert not cluster.second.is_running()
