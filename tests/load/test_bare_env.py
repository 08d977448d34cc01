"""The bare application runs with the product's switches; it is started only by the benchmark itself."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from load.bare_env import BLOCK, FIRST_PORT, LAST_PORT, SERVE_VARIABLES, bare_environment, free_block
from serve_app import cluster_env
from serve_app.cluster_env import Ports, cluster_environment
from serve_app.embedded.home import Home


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="pl-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def products(folder: Path) -> dict[str, str]:
    home = Home(folder / "home", "0123456789abcdef", None)
    home.run.mkdir(parents=True)
    home.secrets.mkdir()
    environment = cluster_environment(home, Ports(20_000), base={})
    del environment[home.marker[0]]
    return environment


def test_it_sets_the_variables_that_the_product_sets_and_no_others(folder: Path, products: dict[str, str]) -> None:
    assert set(bare_environment({}, folder, FIRST_PORT)) == set(products)


def test_every_switch_has_the_products_value(products: dict[str, str]) -> None:
    assert {name: products[name] for name in SERVE_VARIABLES} == SERVE_VARIABLES


def test_only_paths_and_ports_differ_from_the_products(folder: Path, products: dict[str, str]) -> None:
    mine = bare_environment({}, folder, FIRST_PORT)
    for name in set(mine) - set(SERVE_VARIABLES):
        is_port = mine[name].isdigit() and FIRST_PORT <= int(mine[name]) < FIRST_PORT + BLOCK
        assert is_port or mine[name].startswith(str(folder)), name


def test_its_ports_and_the_products_never_overlap() -> None:
    assert LAST_PORT <= cluster_env.FIRST_PORT
    assert FIRST_PORT <= free_block() <= LAST_PORT - BLOCK


def test_a_block_with_a_taken_port_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    base = free_block()
    monkeypatch.setattr("load.bare_env.FIRST_PORT", base)
    monkeypatch.setattr("load.bare_env.LAST_PORT", base + BLOCK)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + 42))
        with pytest.raises(OSError, match="free ports"):
            free_block()
    assert free_block() == base


def test_nothing_of_the_callers_installation_and_no_provider_key_is_passed_on(folder: Path) -> None:
    inherited = {"PATH": "/bin", "PENSTOCK_LOG_LEVEL": "DEBUG", "RAY_ADDRESS": "auto", "OPENAI_API_KEY": "sk"}
    environment = bare_environment(inherited, folder, FIRST_PORT)
    assert environment["PATH"] == "/bin"
    assert not {"PENSTOCK_LOG_LEVEL", "RAY_ADDRESS", "OPENAI_API_KEY"} & set(environment)


def test_only_the_owner_reads_the_token(folder: Path) -> None:
    token = Path(bare_environment({}, folder, FIRST_PORT)["RAY_AUTH_TOKEN_PATH"])
    assert token.stat().st_mode & 0o777 == 0o600
    assert len(token.read_text()) == 64


def test_haproxy_is_bound_to_loopback_before_it_starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("load.bare_env._haproxy", lambda: "/bin/echo")
    wrapper = bare_environment({}, folder, FIRST_PORT)["RAY_SERVE_HAPROXY_BINARY_PATH"]
    config = folder / "haproxy.cfg"
    config.write_text("frontend prometheus\n    bind :9101\nlisten stats\n  bind *:8404\n    bind 127.0.0.1:80\n")
    ran = subprocess.run([wrapper, "-db", "-f", str(config), "-x"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"-db -f {config} -x\n"
    assert [line.split()[1] for line in config.read_text().splitlines() if "bind" in line] == [
        "127.0.0.1:9101",
        "127.0.0.1:8404",
        "127.0.0.1:80",
    ]
