"""Starts and stops what is compared: each gateway on loopback, in front of the same simulator."""

import http.client
import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from load.compare.install import Say, install_litellm, install_portkey
from load.loopback import free_port, loopback_address
from load.stack import Stack, started_stack, temporary_home

MODEL = "gpt-4o-mini"
"""A model with a known price, so that money is counted."""
START_SECONDS = 120.0
UPSTREAM_KEY = "sk-simulated"
LOOPBACK = Path(__file__).with_name("loopback.cjs")


class GatewayError(RuntimeError):
    """A gateway did not start, or refused what it should take."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """url: of its chat completions. headers: what a client sends. features: what it does beside passing on."""

    name: str
    url: str
    headers: Mapping[str, str]
    features: str
    stack: Stack | None = field(default=None, repr=False)


def direct(simulator: str) -> Gateway:
    """No gateway: the client talks to the simulator."""
    return Gateway("direct", f"{simulator}/openai/v1/chat/completions", _bearer(UPSTREAM_KEY), "nothing between")


@contextmanager
def litellm(folder: Path, simulator: str, say: Say) -> Iterator[Gateway]:
    """LiteLLM's proxy with a master key and one worker, as its documentation starts it."""
    program = install_litellm(folder, say)
    key = f"sk-{secrets.token_urlsafe(32)}"
    config = folder / "litellm.yaml"
    model = {"model": f"openai/{MODEL}", "api_base": f"{simulator}/openai/v1", "api_key": UPSTREAM_KEY}
    # JSON is YAML. The file holds the key of this run.
    config.touch(mode=0o600)
    config.write_bytes(
        orjson.dumps(
            {
                "model_list": [{"model_name": MODEL, "litellm_params": model}],
                "general_settings": {"master_key": key},
            }
        )
    )
    port = free_port()
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    environ = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
    with _process("litellm", command, environ, folder, f"http://127.0.0.1:{port}/health/liveliness", say):
        yield Gateway("litellm", f"http://127.0.0.1:{port}/v1/chat/completions", _bearer(key), "key check; no database")


@contextmanager
def portkey(folder: Path, simulator: str, say: Say) -> Iterator[Gateway]:
    """Portkey's open gateway: it has no keys, budgets or ledger of its own."""
    script = install_portkey(folder, say)
    port = free_port()
    command = ["node", "--require", str(LOOPBACK), str(script), f"--port={port}", "--headless"]
    headers = _bearer(UPSTREAM_KEY) | {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"{simulator}/openai/v1",
    }
    # It refuses private addresses unless they are named.
    environ = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
    with _process("portkey", command, environ, folder, f"http://127.0.0.1:{port}/", say):
        yield Gateway(
            "portkey", f"http://127.0.0.1:{port}/v1/chat/completions", headers, "passes on; no keys, no money"
        )


@contextmanager
def penstock(profile: str, simulator: str, say: Say) -> Iterator[Gateway]:
    """Penstock with everything on: key check, limits, a hard budget, the ledger, metrics."""
    more = {
        "PENSTOCK_PROVIDER_CALLER__BASE_URLS": orjson.dumps({"openai": f"{simulator}/openai/v1"}).decode(),
        "OPENAI_API_KEY": UPSTREAM_KEY,
    }
    with (
        temporary_home() as home,
        started_stack(profile, home, f"{simulator}/v1", say, more=more, curriculum=False) as stack,
    ):
        _create(stack, "/api/budgets", {"scope": "tenant", "amount_usd": "1000000", "period": "day", "mode": "hard"})
        limits = {"requests_per_minute": 10_000_000, "tokens_per_minute": 2_000_000_000, "concurrency": 10_000}
        _create(stack, "/api/limits", {"scope": "tenant", **limits})
        time.sleep(3)  # budgets and limits hold within two seconds
        features = "key check, rate and token limits, hard budget, durable ledger, metrics"
        url = f"{stack.url}/v1/chat/completions"
        yield Gateway(f"penstock {profile}", url, _bearer(stack.key), features, stack)


def ledger_calls(stack: Stack) -> int:
    """How many calls the product's ledger holds."""
    status, answer = _ask(stack, "GET", "/api/usage", None)
    if status != 200:
        raise GatewayError(f"GET /api/usage answered {status}: {answer[:300]!r}")
    return int(orjson.loads(answer)["totals"]["calls"])


def _create(stack: Stack, path: str, body: Mapping[str, object]) -> None:
    status, answer = _ask(stack, "POST", path, body)
    if status != 201:
        raise GatewayError(f"POST {path} answered {status}: {answer[:300]!r}")


def _ask(stack: Stack, method: str, path: str, body: Mapping[str, object] | None) -> tuple[int, bytes]:
    address = loopback_address(stack.url)
    connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
    try:
        headers = _bearer(stack.key) | {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else orjson.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@contextmanager
def _process(
    name: str, command: list[str], environ: Mapping[str, str], folder: Path, health: str, say: Say
) -> Iterator[None]:
    say(f"{name}: starting")
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environ},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(name, process, health, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(name: str, process: "subprocess.Popen[bytes]", health: str, log: Path) -> None:
    address = loopback_address(health)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=2)
        try:
            connection.request("GET", address.prefix or "/")
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.3)
        finally:
            connection.close()
    raise GatewayError(f"{name} did not start:\n{log.read_text('utf-8', 'replace')[-1500:]}")


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
