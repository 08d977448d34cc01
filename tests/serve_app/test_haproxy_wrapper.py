"""The configuration that Ray Serve writes, made safe before HAProxy reads it."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions

from kit.processes import ProcessIdentity
from serve_app import haproxy_wrapper
from serve_app.cluster_env import haproxy_binary
from serve_app.haproxy_wrapper import ERRORS, STEERING_HEADERS, STEERING_PREFIXES, harden, write_errors
from tests.cluster.process import free_port

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """As Ray Serve writes it, with its own template."""
    file = tmp_path / "haproxy.cfg"
    settings = HAProxyConfig(
        http_options=HTTPOptions(host="127.0.0.1", port=free_port()),
        metrics_port=free_port(),
        stats_port=free_port(),
        socket_path=str(tmp_path / "admin.sock"),
        server_state_base=str(tmp_path),
        server_state_file=str(tmp_path / "state"),
        has_received_routes=True,
        has_received_servers=True,
    )
    backend = BackendConfig(
        name="penstock",
        path_prefix="/",
        app_name="penstock",
        servers=[ServerConfig(name="one", host="127.0.0.1", port=free_port())],
    )
    api = HAProxyApi(cfg=settings, backend_configs={"penstock": backend}, config_file_path=str(file))
    api._generate_config_file_internal()
    return file


@pytest.fixture
def config_without_routes(config: Path) -> Path:
    """As Ray Serve writes it for a proxy that has just started."""
    text = re.sub(r"^\s*use_backend .*\n", "", config.read_text(), flags=re.M)
    config.write_text(text)
    return config


@pytest.fixture
def hardened(config: Path) -> str:
    write_errors(config.parent)
    return harden(config.read_text(), config.parent)


def test_rays_template_is_as_open_as_the_wrapper_expects(config: Path) -> None:
    """If this fails, Ray changed its template: look whether the wrapper is still needed and still works."""
    text = config.read_text()
    assert "mode 666" in text
    assert re.search(r"^\s*bind \*?:\d+", text, re.M)
    assert "frontend http_frontend" in text


def test_every_port_is_on_loopback(hardened: str) -> None:
    binds = re.findall(r"^\s*bind (\S+)", hardened, re.M)
    assert len(binds) >= 3
    assert all(bind.startswith("127.0.0.1:") for bind in binds)


def test_a_cluster_may_listen_on_all_addresses_but_for_its_statistics(config: Path) -> None:
    """Serve writes `*` for 0.0.0.0."""
    text = config.read_text()
    frontend = re.search(r"^frontend http_frontend\n\s*bind (127\.0\.0\.1:\d+)", text, re.M)
    assert frontend is not None
    port = frontend[1].partition(":")[2]
    hardened = harden(text.replace(f"bind {frontend[1]}", f"bind *:{port}"), config.parent)
    open_ports = [bind for bind in re.findall(r"^\s*bind (\S+)", hardened, re.M) if not bind.startswith("127.0.0.1:")]
    assert open_ports == [f"*:{port}"]
    assert "X-Forwarded-For %[src]" in hardened


def test_only_its_owner_uses_the_admin_socket(hardened: str) -> None:
    assert re.findall(r"stats socket \S+ mode (\d+)", hardened) == ["600"]


def test_headers_that_steer_serve_are_deleted_before_any_other_rule(hardened: str) -> None:
    frontend = hardened.partition("frontend http_frontend\n")[2]
    rules = [line.strip() for line in frontend.splitlines() if line.strip().startswith("http-request")]
    for header in STEERING_HEADERS:
        assert rules.index(f"http-request del-header {header}") < len(STEERING_HEADERS) + len(STEERING_PREFIXES)
    for prefix in STEERING_PREFIXES:
        assert f"http-request del-header {prefix} -m beg" in rules


def test_forwarded_addresses_are_replaced(hardened: str) -> None:
    removed = hardened.index("del-header X-Forwarded- -m beg")
    assert removed < hardened.index("set-header X-Forwarded-For %[src]")
    assert "del-header Forwarded\n" in hardened


def test_errors_of_its_own_have_the_platforms_shape(config: Path, hardened: str) -> None:
    for status, (reason, code, message) in ERRORS.items():
        file = config.parent / f"{status}.http"
        assert f"errorfile {status} {file}" in hardened
        head, _, body = file.read_bytes().partition(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {status} {reason}".encode())
        assert f"Content-Length: {len(body)}".encode() in head
        assert json.loads(body)["error"] == {"code": code, "message": message, "details": {}, "request_id": None}
    assert len(re.findall(r"errorfile 503 ", hardened)) == 1, "ours only"


def test_hardening_twice_changes_nothing_more(config: Path, hardened: str) -> None:
    assert harden(hardened, config.parent) == hardened


def test_haproxy_accepts_the_result(config: Path, hardened: str) -> None:
    config.write_text(hardened)
    result = subprocess.run([haproxy_binary(), "-c", "-f", str(config)], capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    assert "ALERT" not in result.stderr


def test_haproxy_dies_with_the_process_that_started_it(config: Path) -> None:
    (config.parent / "state").touch()
    command = [sys.executable, "-I", "-S", haproxy_wrapper.__file__, haproxy_binary(), "-db", "-f", str(config)]
    starter = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", starter, *command], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        deadline = time.monotonic() + 20
        while not (config.parent / "admin.sock").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        haproxy = ProcessIdentity.of(pid)
        assert haproxy is not None
        assert "haproxy" in os.readlink(f"/proc/{pid}/exe")
        assert "X-Forwarded-For %[src]" in config.read_text()
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.communicate()
    while haproxy.alive():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_proxy_that_does_not_know_the_replicas_yet_asks_to_try_again(config_without_routes: Path) -> None:
    config = config_without_routes
    (config.parent / "state").touch()
    write_errors(config.parent)
    config.write_text(harden(config.read_text(), config.parent))
    address = re.search(r"frontend http_frontend\n\s*bind (\S+)", config.read_text())
    assert address is not None
    haproxy = subprocess.Popen([haproxy_binary(), "-db", "-f", str(config)], stderr=subprocess.DEVNULL)
    try:
        client = httpx.Client(transport=httpx.HTTPTransport(retries=10))
        answer = client.post(f"http://{address[1]}/v1/chat/completions", json={})
    finally:
        haproxy.kill()
        haproxy.wait()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "UNAVAILABLE")
    assert answer.headers["retry-after"] == "1"


def test_a_client_that_leaves_before_the_answer_is_noticed(config: Path) -> None:
    """Head and body in packets of their own, as the official clients send them."""
    (config.parent / "state").touch()
    text = harden(config.read_text(), config.parent)
    write_errors(config.parent)
    config.write_text(text)
    frontend = re.search(r"frontend http_frontend\n\s*bind 127\.0\.0\.1:(\d+)", text)
    server = re.search(r"^\s*server \S+ 127\.0\.0\.1:(\d+)", text, re.M)
    assert frontend is not None
    assert server is not None
    with socket.create_server(("127.0.0.1", int(server[1]))) as backend:
        haproxy = subprocess.Popen([haproxy_binary(), "-db", "-f", str(config)], stderr=subprocess.DEVNULL)
        try:
            client = _connected(int(frontend[1]))
            client.sendall(HEAD)
            replica = _with_request(backend)
            client.sendall(b"{}")
            while not replica.recv(4096).endswith(b"{}"):
                pass
            client.close()
            replica.settimeout(2)
            with contextlib.suppress(ConnectionResetError):
                assert replica.recv(1) == b""
        finally:
            haproxy.kill()
            haproxy.wait()


def _connected(port: int) -> socket.socket:
    """A connection to a server that is starting."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def _with_request(backend: socket.socket) -> socket.socket:
    """The connection on which the client's head has come; others are health checks."""
    backend.settimeout(10)
    while True:
        connection, _ = backend.accept()
        connection.settimeout(5)
        if b"POST /v1/chat/completions" in connection.recv(4096):
            return connection
