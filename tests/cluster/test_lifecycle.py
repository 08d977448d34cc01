"""Starts and stops: whatever ends the platform, no process stays and the home starts again."""

import os
import signal
import time
from pathlib import Path

import httpx
import orjson
import pytest

from kit.processes import ProcessIdentity
from tests.cluster.process import Platform, remove, start


def all_gone(members: set[ProcessIdentity], seconds: float = 10) -> list[ProcessIdentity]:
    deadline = time.monotonic() + seconds
    while (left := [member for member in members if member.alive()]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


@pytest.fixture(scope="module")
def second(model_home: Path, platform: Platform) -> Platform:
    """A second platform beside the shared one, on the same machine at the same time."""
    running = start("--no-samples", "--profile", "inline", models=model_home / "models")
    try:
        yield running.wait_ready()  # type: ignore[misc]
    finally:
        remove(running)


def test_two_platforms_never_answer_for_each_other(platform: Platform, second: Platform) -> None:
    for mine, other in ((platform, second), (second, platform)):
        for _ in range(20):
            assert httpx.get(f"{mine.url}/v1/models", headers=mine.headers).status_code == 200
            assert httpx.get(f"{mine.url}/v1/models", headers=other.headers).status_code == 401


def test_a_home_in_use_is_refused_with_a_remedy(second: Platform) -> None:
    result = second.command("up", "--port", "1")
    assert result.returncode == 2
    assert "penstock down" in result.stderr
    assert str(second.process.pid) in result.stderr


def test_killed_servers_come_back_with_their_data(second: Platform) -> None:
    for name in ("postgres", "redis"):
        record = orjson.loads((second.home / "run" / f"{name}.json").read_bytes())
        os.kill(record["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"{second.url}/health/detailed", headers=second.headers, timeout=10).json()
            if answer["status"] == "healthy":
                break
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    assert answer["status"] == "healthy"
    assert httpx.get(f"{second.url}/v1/models", headers=second.headers).status_code == 200


def test_a_killed_platform_leaves_nothing_and_starts_again(second: Platform, model_home: Path) -> None:
    """`kill -9` of `penstock up` itself. Runs after the tests that need it alive."""
    members = second.processes()
    assert len(members) > 15
    os.kill(second.process.pid, signal.SIGKILL)
    second.process.wait(10)
    assert all_gone(members) == []


def test_down_ends_every_process_within_eight_seconds(model_home: Path) -> None:
    platform = start("--no-samples", "--profile", "inline", models=model_home / "models")
    try:
        platform.wait_ready()
        members = platform.processes()
        result = platform.command("down", "--json")
        assert result.returncode == 0, result.stderr
        assert orjson.loads(result.stdout)["seconds"] <= 8
        assert all_gone(members, 0.5) == []
        assert platform.command("down").stdout.strip() == "It was not running."
    finally:
        remove(platform)


@pytest.mark.parametrize("step", ["services", "ray", "graph"])
def test_ctrl_c_while_it_starts_leaves_nothing_behind(model_home: Path, step: str) -> None:
    platform = start("--no-samples", models=model_home / "models")
    try:
        platform.wait_step(step)
        time.sleep(0.5)
        members = platform.processes()
        os.killpg(platform.process.pid, signal.SIGINT)
        platform.process.wait(20)
        assert all_gone(members) == []
    finally:
        remove(platform)


def test_a_taken_port_is_one_clear_sentence(platform: Platform) -> None:
    result = platform.command("up", "--port", str(platform.port))
    assert result.returncode == 2
    assert "Error:" in result.stderr
    assert "Traceback" not in result.stderr
