"""Runs on the nodes of a cluster that `ray up cluster.yaml` makes; docs/operators/cluster.md goes through it.

    python -m serve_app.on_premises environment                    # on every node, before `ray start`
    python -m serve_app.on_premises deploy --address HEAD:20001    # on the head, once the nodes have joined

`environment` prints variables for a shell to evaluate. `deploy` brings the databases up to date, deploys the graph, and
leaves in PENSTOCK_HOME what `penstock key`, `ask`, `ingest` and `status` look for.
"""

import argparse
import asyncio
import hashlib
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import orjson

from deployments.settings import Settings, load_settings
from kit.errors import SetupError
from kit.postgres import database_of, with_default_database
from serve_app.cluster_env import TOKEN, Ports, node_variables, private_directory, proxy_directory
from serve_app.embedded.home import Home, write_private
from serve_app.state import KEY, STATE

PORTS = Ports(20_000)
"""The same on every node, so that a firewall can name them. Workers' ports follow, to WORKER_PORTS.stop - 1."""
WORKER_PORTS = range(20_100, 21_000)

DEFAULTS = {"PENSTOCK_SERVER__PROFILE": "cluster", "PENSTOCK_SERVER__HOST": "0.0.0.0"}  # noqa: S104 - nodes meet there
"""Unless the operator's environment says otherwise."""

ADMINISTRATOR_KEY = "administrator of the cluster"


def node_home(path: Path) -> Home:
    """PENSTOCK_HOME of a node. No servers run from it, so it needs no servers' user."""
    path = path.expanduser().absolute()
    home = Home(path, hashlib.sha256(str(path).encode()).hexdigest()[:16], None)
    for folder in (home.path, home.run, home.secrets, home.models):
        private_directory(folder)
    return home


def node_environment(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that a node's Ray processes must have beside those of `environ`.

    Raises SetupError when the cluster's token is not on this node: one of its own would match no other.
    """
    token = home.secrets / TOKEN
    if not home.read_secret(TOKEN):
        raise SetupError(f"The cluster's token is not in {token}.", "Copy it there: file_mounts in cluster.yaml.")
    token.chmod(0o600)
    proxy = proxy_directory(home)
    private_directory(proxy)
    missing = {name: value for name, value in DEFAULTS.items() if not environ.get(name)}
    return {"PENSTOCK_HOME": str(home.path), **missing, **node_variables(token, proxy, PORTS)}


def deploy(settings: Settings, address: str) -> None:
    """Migrate and deploy. Raises SetupError with a remedy."""
    from serve_app import deploy as graph
    from serve_app.tenants.service import ensure_platform

    if settings.database.url is None or settings.redis.url is None:
        raise SetupError("Nodes share Postgres and Redis servers.", "Set DATABASE_URL and REDIS_URL on every node.")
    home = node_home(settings.home)
    url = with_default_database(settings.database.url.get_secret_value(), "")
    if not database_of(url):
        raise SetupError("DATABASE_URL names no database.", "Name the control database: .../penstock_control.")
    asyncio.run(ensure_platform(url, home.secrets / KEY, key_name=ADMINISTRATOR_KEY))
    graph.deploy(settings, address)
    host = "127.0.0.1" if settings.server.host == "0.0.0.0" else settings.server.host  # noqa: S104 - a comparison
    state = {"url": f"http://{host}:{settings.server.port}", "dashboard": f"http://127.0.0.1:{PORTS.dashboard}"}
    write_private(home.run / STATE, orjson.dumps(state).decode())


def main() -> None:
    """Command-line entry. Exit code 2: something must be changed first, and standard error says what."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("environment", help="print variables for a shell")
    commands.add_parser("deploy", help="migrate and deploy").add_argument("--address", required=True)
    options = parser.parse_args()
    try:
        settings = load_settings(dotenv=None)
        if options.command == "environment":
            variables = node_environment(node_home(settings.home), os.environ)
            sys.stdout.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
        else:
            deploy(settings, options.address)
    except SetupError as error:
        sys.stderr.write(f"Error: {error.message}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
