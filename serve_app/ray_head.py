"""The head node of a one-machine cluster: what `ray start --head --block` does, without what Penstock never uses.

Left out: the Ray Client server (a port open to any driver), the autoscaler's monitor (there are no nodes to start), the
log monitor, and all dashboard modules but the one behind the Jobs API. On two cores that is 800 MB and four seconds
of start-up. Ray's processes share this one's fate: the kernel ends them with it.

    python -m serve_app.ray_head --base-port 20500 --temp-dir /var/lib/penstock/run/ray --cpus 2
"""

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ray._common.usage import usage_lib
from ray._private import ray_constants, services
from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
from ray._private.node import Node
from ray._private.parameter import RayParams

from serve_app.cluster_env import READY, Ports

DASHBOARD_MODULES = "JobHead"
OBJECT_STORE_BYTES = 512 * 1024 * 1024


def start(ports: Ports, temp_dir: str, cpus: int) -> Node:
    """Start GCS, dashboard and raylet on loopback; returns when they answer."""
    usage_lib.set_usage_stats_enabled_via_env_var(False)
    ensure_token_if_auth_enabled({}, create_token_if_missing=False)
    _load_few_dashboard_modules()
    parameters = RayParams(
        node_ip_address="127.0.0.1",
        gcs_server_port=ports.gcs,
        num_cpus=cpus,
        object_store_memory=OBJECT_STORE_BYTES,
        temp_dir=temp_dir,
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        dashboard_port=ports.dashboard,  # type: ignore[arg-type]  # Ray annotates it as bool
        dashboard_agent_listen_port=ports.dashboard_agent,
        metrics_agent_port=ports.dashboard_agent_grpc,
        runtime_env_agent_port=ports.runtime_env_agent,
        metrics_export_port=ports.metrics_export,
        node_manager_port=ports.node_manager,
        object_manager_port=ports.object_manager,
        min_worker_port=0,
        max_worker_port=0,
        include_log_monitor=False,  # type: ignore[arg-type]  # Ray annotates it as str
        no_monitor=True,
    )
    node = Node(parameters, head=True, shutdown_at_exit=True, spawn_reaper=True)
    # The Jobs API looks here for the agent to run jobs on; a dashboard module that is left out would have written it.
    node.get_gcs_client().internal_kv_put(  # type: ignore[no-untyped-call]
        ray_constants.KV_HEAD_NODE_ID_KEY, node.node_id.encode(), True, ray_constants.KV_NAMESPACE_JOB
    )
    return node


def _load_few_dashboard_modules() -> None:
    """Ray has no setting for it: add the dashboard's own `--modules-to-load` to its command line."""
    start_process = services.start_ray_process

    def with_modules(command: list[str], process_type: str, *args: Any, **options: Any) -> Any:
        if process_type == ray_constants.PROCESS_TYPE_DASHBOARD:
            command = [*command, f"--modules-to-load={DASHBOARD_MODULES}"]
        return start_process(command, process_type, *args, **options)

    services.start_ray_process = with_modules


def main() -> None:
    """Run until a signal comes or one of Ray's processes dies; the exit code tells which."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-port", type=int, required=True)
    parser.add_argument("--temp-dir", required=True)
    parser.add_argument("--cpus", type=int, required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    node = start(Ports(options.base_port), options.temp_dir, options.cpus)
    Path(options.temp_dir, READY).touch()
    while not (dead := node.dead_processes()):  # type: ignore[no-untyped-call]
        time.sleep(0.5)
    for process_type, process in dead:
        print(f"Ray's {process_type} ended with code {process.returncode}.", file=sys.stderr)  # noqa: T201
    node.kill_all_processes(check_alive=False, allow_graceful=False)
    sys.exit(1)


if __name__ == "__main__":
    main()
