"""Each home gets ports, a token and short socket paths of its own."""

import os
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.settings import load_settings
from kit.errors import SetupError
from serve_app import cluster_env, platform
from serve_app.cluster_env import (
    BLOCK,
    FIRST_PORT,
    LAST_PORT,
    MAX_PROXY_DIRECTORY,
    MAX_RAY_DIRECTORY,
    Ports,
    claim_ports,
    cluster_environment,
    private_directory,
    proxy_directory,
    ray_directory,
    token_file,
)
from serve_app.embedded.home import Home
from serve_app.embedded.services import ServiceUrls


def make(path: Path) -> Home:
    home = Home(path, secrets.token_hex(8), None)
    for folder in (home.run, home.secrets):
        folder.mkdir(parents=True)
    return home


@pytest.fixture
def home() -> Iterator[Home]:
    folder = Path(tempfile.mkdtemp(prefix="pe-"))
    yield make(folder)
    shutil.rmtree(folder)


def span(ports: Ports) -> set[int]:
    return set(range(ports.base, ports.base + BLOCK))


def test_a_home_gets_the_same_block_each_time(home: Home) -> None:
    with claim_ports(home) as first:
        pass
    with claim_ports(home) as second:
        pass
    assert first == second
    assert FIRST_PORT <= first.base < LAST_PORT


def test_two_claims_never_overlap(home: Home) -> None:
    """The same home, so that both want the same block."""
    with claim_ports(home) as one, claim_ports(home) as two, claim_ports(home) as three:
        assert not span(one) & span(two)
        assert not span(two) & span(three)
        assert not span(one) & span(three)


@pytest.mark.parametrize("offset", [1, 9, 57, 99])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_block_in_which_one_port_is_taken_is_skipped(home: Home, offset: int, address: str) -> None:
    with claim_ports(home) as wanted:
        pass
    with socket.socket() as stranger:
        stranger.bind((address, wanted.base + offset))
        with claim_ports(home) as given:
            assert not span(wanted) & span(given)


def test_no_free_block_is_one_sentence(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_env, "_is_free", lambda port: False)
    with pytest.raises(SetupError, match="Stop other clusters"), claim_ports(home):
        pass


def test_no_port_of_a_block_has_two_uses() -> None:
    ports = Ports(20_500)
    properties = [name for name, value in vars(Ports).items() if isinstance(value, property)]
    numbers = {getattr(ports, name) for name in properties}
    assert len(numbers) == len(properties)
    assert numbers <= span(ports) - {ports.base}
    variables = ports.serve_variables()
    for kind, other in (("HTTP", "GRPC"), ("GRPC", "HTTP")):
        least = int(variables[f"RAY_SERVE_DIRECT_INGRESS_MIN_{kind}_PORT"])
        most = int(variables[f"RAY_SERVE_DIRECT_INGRESS_MAX_{kind}_PORT"])
        mine = set(range(least, most + 1))
        assert mine < span(ports)
        assert not mine & numbers
        assert int(variables[f"RAY_SERVE_DIRECT_INGRESS_MIN_{other}_PORT"]) not in mine


def test_sockets_of_a_short_home_lie_in_it(home: Home) -> None:
    assert ray_directory(home).is_relative_to(home.path)
    assert proxy_directory(home).is_relative_to(home.path)


def test_sockets_of_a_long_home_have_short_paths_of_their_own(tmp_path: Path) -> None:
    deep = tmp_path / ("a-rather-long-name-" * 4)
    one, two = make(deep / "one"), make(deep / "two")
    for home in (one, two):
        assert len(str(ray_directory(home))) <= MAX_RAY_DIRECTORY
        assert len(str(proxy_directory(home))) <= MAX_PROXY_DIRECTORY
    assert ray_directory(one) != ray_directory(two)
    assert proxy_directory(one) != proxy_directory(two)


def test_the_token_is_made_once_and_only_its_owner_reads_it(home: Home) -> None:
    file = token_file(home)
    token = file.read_text()
    assert len(token.strip()) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token_file(home).read_text() == token


def test_a_private_folder_is_closed_even_if_it_was_open(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o777)
    private_directory(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of another user")
def test_a_folder_that_somebody_else_made_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.chown(folder, 4711, 4711)
    with pytest.raises(SetupError, match="4711"):
        private_directory(folder)


def test_a_link_to_a_folder_is_refused(tmp_path: Path) -> None:
    """In /tmp anybody can put a link where our folder would be."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SetupError, match="folder"):
        private_directory(tmp_path / "folder")


def test_the_environment_guards_ray_and_adds_to_the_base(home: Home) -> None:
    environment = cluster_environment(home, Ports(20_500), base={"PATH": "/bin", "RAY_AUTH_MODE": "disabled"})
    assert environment["PATH"] == "/bin"
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_AUTH_TOKEN_PATH"] == str(token_file(home))
    assert environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert environment["RAY_SERVE_THROUGHPUT_OPTIMIZED"] == environment["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert environment["RAY_SERVE_HAPROXY_STATS_PORT"] == "20510"
    assert float(environment["RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S"]) < 5, "a dead HAProxy is missed three times"
    assert not any(token_file(home).read_text().strip() in value for value in environment.values())


def test_the_cluster_reads_the_addresses_that_were_checked_whatever_variable_named_them(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_DATABASE__URL", "postgresql+asyncpg://u:p@db.example")
    checked = ServiceUrls("postgresql://u:p@db.example/penstock_control", "redis://localhost/0")
    environment = platform._environment(load_settings(dotenv=None), home, Ports(20_500), checked)
    settings = load_settings(environment, dotenv=None)
    assert settings.database.url is not None
    assert settings.database.url.get_secret_value() == checked.database_url


def test_serve_starts_haproxy_through_the_wrapper(home: Home) -> None:
    environment = cluster_environment(home, Ports(20_500), base={})
    wrapper = environment["RAY_SERVE_HAPROXY_BINARY_PATH"]
    assert stat.S_IMODE(Path(wrapper).stat().st_mode) == 0o700
    config = proxy_directory(home) / "haproxy.cfg"
    config.write_text("defaults\n    mode http\nfrontend http_frontend\n    bind 127.0.0.1:1\n")
    subprocess.run([wrapper, "-c", "-f", str(config)], capture_output=True, check=False, timeout=30)
    assert "X-Forwarded-For %[src]" in config.read_text()
