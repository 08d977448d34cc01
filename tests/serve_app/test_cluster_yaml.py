"""cluster.yaml is what Ray's launcher reads, and starts nodes with the environment that Serve needs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from deployments.settings import ROOT, load_settings
from kit.errors import SetupError
from serve_app.cluster_env import claim_ports, cluster_environment
from serve_app.embedded.home import open_home
from serve_app.on_premises import PORTS, WORKER_PORTS, deploy, node_environment, node_home

TOKEN = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return content


def starts(config: dict[str, Any]) -> list[str]:
    return [config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]]


def node(folder: Path) -> Path:
    """PENSTOCK_HOME as `ray up` leaves it on a node."""
    home = folder / "home"
    (home / "secrets").mkdir(parents=True)
    (home / "secrets" / "ray_token").write_text(TOKEN)
    return home


def test_rays_launcher_accepts_it(config: dict[str, Any]) -> None:
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["available_node_types"]["local.cluster.node"]["min_workers"] == 2
    assert prepared["setup_commands"] == config["setup_commands"]


def test_a_misspelt_key_would_be_noticed(config: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="worker_start_ray_comands"):
        validate_config(prepare_config({**config, "worker_start_ray_comands": []}))


def test_every_serve_variable_it_names_is_one_that_one_machine_sets_too(config: dict[str, Any], tmp_path: Path) -> None:
    home = open_home(Path(f"/tmp/pcy-{tmp_path.name[-12:]}"))
    try:
        with claim_ports(home) as ports:
            known = cluster_environment(home, ports, base={})
        on_a_node = node_environment(node_home(node(tmp_path)), {})
        named = {name for name in on_a_node if name.startswith("RAY_")}
        named |= set(re.findall(r"RAY_SERVE_\w+", yaml.safe_dump(config)))
        assert named <= set(known)
        left_out = {name for name in known if name.startswith("RAY_")} - named
        assert left_out == {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"}
    finally:
        subprocess.run(["rm", "-rf", str(home.path)], check=True)


def test_ports_are_named_and_are_those_that_serve_is_told(config: dict[str, Any]) -> None:
    head, worker = ({**dict(re.findall(r"--([a-z-]*port)=(\d+)", start))} for start in starts(config))
    assert head["port"] == str(PORTS.gcs)
    assert f'--address="$RAY_HEAD_IP:{PORTS.gcs}"' in starts(config)[1]
    assert head["dashboard-port"] == str(PORTS.dashboard)
    for options in (head, worker):
        assert options["dashboard-agent-listen-port"] == str(PORTS.dashboard_agent)
        assert options["dashboard-agent-grpc-port"] == str(PORTS.dashboard_agent_grpc)
        assert options["runtime-env-agent-port"] == str(PORTS.runtime_env_agent)
        assert options["metrics-export-port"] == str(PORTS.metrics_export)
        assert options["node-manager-port"] == str(PORTS.node_manager)
        assert options["object-manager-port"] == str(PORTS.object_manager)
        assert range(int(options["min-worker-port"]), int(options["max-worker-port"]) + 1) == WORKER_PORTS
    numbers = [*head.values(), *PORTS.serve_variables().values()]
    assert len(set(numbers)) == len(numbers), "no port twice"
    assert all(PORTS.base < int(number) < WORKER_PORTS.stop for number in numbers)


def test_ray_start_knows_every_option(config: dict[str, Any]) -> None:
    from ray.scripts.scripts import start

    known = {name for parameter in start.params for name in parameter.opts}
    for command in starts(config):
        options = [word.partition("=")[0] for word in shlex.split(command.partition("ray start")[2])]
        assert set(options) <= known


def test_a_node_evaluates_what_the_environment_command_prints(config: dict[str, Any], tmp_path: Path) -> None:
    """The commands of cluster.yaml themselves, with `ray start` replaced by `env`."""
    home = node(tmp_path)
    secrets = home / "secrets" / "cluster.env"
    secrets.write_text("DATABASE_URL='postgresql://u:p w@db/penstock_control'\nREDIS_URL=redis://cache\n")
    for command in starts(config):
        script = command.partition("&& ulimit")[0].replace("~/penstock", str(ROOT))
        script = script.replace(".venv/bin/python", sys.executable).replace("~/.penstock", str(home)) + " && env"
        environment = {"PATH": "/usr/bin:/bin", "PENSTOCK_HOME": str(home)}
        result = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr
        seen = dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)
        assert seen["RAY_AUTH_MODE"] == "token"
        assert Path(seen["RAY_AUTH_TOKEN_PATH"]).read_text() == TOKEN
        assert Path(seen["RAY_AUTH_TOKEN_PATH"]).stat().st_mode & 0o777 == 0o600
        assert seen["DATABASE_URL"] == "postgresql://u:p w@db/penstock_control"
        assert seen["PENSTOCK_SERVER__PROFILE"] == "cluster"
        assert seen["PENSTOCK_SERVER__HOST"] == "0.0.0.0"
        assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in seen, "nodes must reach each other"


def test_a_node_without_the_token_does_not_start(config: dict[str, Any], tmp_path: Path) -> None:
    home = node(tmp_path)
    (home / "secrets" / "ray_token").unlink()
    with pytest.raises(SetupError, match="file_mounts"):
        node_environment(node_home(home), {})


def test_the_operators_own_address_is_kept(tmp_path: Path) -> None:
    variables = node_environment(node_home(node(tmp_path)), {"PENSTOCK_SERVER__HOST": "10.0.0.5"})
    assert "PENSTOCK_SERVER__HOST" not in variables


@pytest.mark.parametrize(
    ("urls", "remedy"),
    [
        ({}, "DATABASE_URL and REDIS_URL"),
        ({"DATABASE_URL": "postgresql://h/penstock_control"}, "REDIS_URL"),
        ({"DATABASE_URL": "postgresql://h", "REDIS_URL": "redis://h"}, "penstock_control"),
    ],
)
def test_a_cluster_without_shared_servers_is_not_deployed(tmp_path: Path, urls: dict[str, str], remedy: str) -> None:
    with pytest.raises(SetupError, match=remedy):
        deploy(load_settings({"PENSTOCK_HOME": str(tmp_path), **urls}, dotenv=None), "127.0.0.1:1")
