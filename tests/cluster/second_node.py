"""A second Ray node on this machine. `ray start --address` refuses to join over loopback.

python tests/cluster/second_node.py GCS_ADDRESS CPUS
"""

import signal
import sys
import time

from ray._private.node import Node
from ray._private.parameter import RayParams

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
parameters = RayParams(
    node_ip_address="127.0.0.1",
    gcs_address=sys.argv[1],
    num_cpus=int(sys.argv[2]),
    object_store_memory=128 * 1024 * 1024,
    dashboard_agent_listen_port=0,
    min_worker_port=0,
    max_worker_port=0,
    include_log_monitor=False,  # type: ignore[arg-type]
)
node = Node(parameters, head=False, shutdown_at_exit=True, spawn_reaper=True)
print("joined", flush=True)
while not node.dead_processes():  # type: ignore[no-untyped-call]
    time.sleep(0.2)
node.kill_all_processes(check_alive=False, allow_graceful=False)
