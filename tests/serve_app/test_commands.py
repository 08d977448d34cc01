"""The command line: help with examples, exit codes that mean something, JSON on request, no secret shown."""

import asyncio
import errno
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import typer
from aiohttp import web
from aiohttp.test_utils import TestServer
from typer.testing import CliRunner

from serve_app.cli import app
from serve_app.commands.common import readable_errors
from serve_app.embedded.home import open_home
from serve_app.state import KEY, STATE
from tests.cluster.process import free_port


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pcm-"))
    folder.chmod(0o755)
    yield folder / "home"
    shutil.rmtree(folder)


def penstock(home: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return subprocess.run(
        [sys.executable, "-m", "serve_app.cli", *arguments],
        env={**inherited, "PENSTOCK_HOME": str(home), "PENSTOCK_SERVER__PORT": str(free_port()), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def commands(group: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for command in group.registered_commands:
        assert command.callback is not None
        yield (*path, command.name or command.callback.__name__)
    for below in group.registered_groups:
        assert below.typer_instance is not None
        yield from commands(below.typer_instance, (*path, str(below.name)))


COMMANDS = sorted(commands(app))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_shows_an_example(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    example = result.stdout.partition("Example:")[2]
    assert " ".join(("penstock", *command)) in " ".join(example.split())


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != ("key",)], ids=" ".join)
def test_every_command_but_key_prints_json_on_request(command: tuple[str, ...]) -> None:
    assert "--json" in CliRunner().invoke(app, [*command, "--help"]).stdout


def test_wrong_settings_are_listed_and_nothing_is_started(home: Path) -> None:
    wrong = {"PENSTOCK_SERVER__PROFILE": "huge", "CACHE_TTL": "long", "PENSTOCK_NONSENSE": "1", "LOG_LEVEL": "loud"}
    for command in (["config", "check"], ["up"], ["up", "--detach"], ["status", "--json"]):
        result = penstock(home, *command, **wrong)
        assert result.returncode == 2
        for part in ("server.profile", "cache.ttl", "PENSTOCK_NONSENSE", "log_level", "'local', 'inline' or 'cluster'"):
            assert part in result.stderr, command
        assert "Traceback" not in result.stderr
        assert not home.exists()


def test_a_second_start_names_the_platform_that_runs_and_not_its_port(home: Path) -> None:
    with open_home(home).lock(), socket.create_server(("127.0.0.1", 0)) as taken:
        result = penstock(home, "up", "--detach", PENSTOCK_SERVER__PORT=str(taken.getsockname()[1]))
    assert result.returncode == 2
    assert f"is in use by process {os.getpid()}" in result.stderr


def test_an_error_is_printed_as_it_is_brackets_included(home: Path) -> None:
    """Packages' extras and odd file names look like markup."""
    result = penstock(home, "ingest", "no[/where]/[embedded].md", "--collection", "c")
    assert result.returncode == 2
    assert "no[/where]/[embedded].md" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("grouped", [False, True])
def test_a_full_disk_is_one_sentence_with_a_remedy(grouped: bool, capsys: pytest.CaptureFixture[str]) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "/home/of/penstock/run/ports")
    with pytest.raises(typer.Exit) as ended, readable_errors():
        raise ExceptionGroup("two steps", [error]) if grouped else error
    assert ended.value.exit_code == 2
    assert "The disk is full (/home/of/penstock/run/ports). Make room" in capsys.readouterr().err


def test_other_errors_of_the_system_keep_their_traceback() -> None:
    with pytest.raises(PermissionError), readable_errors():
        raise PermissionError(errno.EACCES, "Permission denied")


def test_check_says_that_all_is_well(home: Path) -> None:
    assert "valid" in penstock(home, "config", "check").stdout
    result = penstock(home, "config", "check", "--json", ENVIRONMENT="production")
    assert orjson.loads(result.stdout) == {"ok": True, "environment": "production"}


def test_show_masks_secrets(home: Path) -> None:
    secret = {"OPENAI_API_KEY": "sk-hush", "DATABASE_URL": "postgresql://u:hush@h/d", "REDIS_URL": "redis://:hush@h"}
    for command in (["config", "show"], ["config", "show", "--json"]):
        result = penstock(home, *command, CACHE_TTL="61", **secret)
        assert result.returncode == 0, result.stderr
        assert "hush" not in result.stdout + result.stderr
    values = orjson.loads(result.stdout)
    assert values["provider_caller.keys.openai"] == values["database.url"] == "********"
    assert values["provider_caller.keys.groq"] is None
    assert values["cache.ttl"] == 61
    assert values["home"] == str(home)


def test_show_masks_a_password_in_a_providers_address(home: Path) -> None:
    address = {"PENSTOCK_PROVIDER_CALLER__COMPATIBLE_BASE_URL": "http://user:hush@gpu-1/v1"}
    result = penstock(home, "config", "show", "--json", **address)
    assert "hush" not in result.stdout
    assert "gpu-1" in result.stdout


def test_each_setting_is_one_line_however_narrow_the_terminal(home: Path) -> None:
    lines = penstock(home, "config", "show", COLUMNS="40").stdout.splitlines()
    words = [line.split() for line in lines]
    assert ["cache.ttl", "3600", "CACHE_TTL"] in words
    assert ["provider_caller.compatible_base_url", "None", "PENSTOCK_PROVIDER_CALLER__COMPATIBLE_BASE_URL"] in words


def test_doctor_finds_nothing_wrong_here(home: Path) -> None:
    result = penstock(home, "doctor", "--json")
    findings = {finding["what"]: finding for finding in orjson.loads(result.stdout)["findings"]}
    assert findings["home"]["ok"]
    assert findings["HAProxy"]["ok"]
    assert findings["port"]["ok"]
    assert result.returncode == (0 if all(finding["ok"] for finding in findings.values()) else 1)


@pytest.mark.parametrize("place", ["a file", "nowhere"])
def test_doctor_goes_on_after_a_finding(home: Path, place: str) -> None:
    if place == "a file":
        home.write_text("")
    else:
        home = Path("/proc/nowhere/home")
    result = penstock(home, "doctor", "--json")
    assert "Traceback" not in result.stderr
    findings = {finding["what"]: finding for finding in orjson.loads(result.stdout)["findings"]}
    assert result.returncode == 1
    assert not findings["home"]["ok"]
    assert str(home) in findings["home"]["detail"]
    assert findings["HAProxy"]["ok"]
    assert "disk" in findings


def test_down_when_nothing_runs(home: Path) -> None:
    result = penstock(home, "down")
    assert (result.returncode, result.stdout) == (0, "It was not running.\n")
    assert not home.exists()
    assert orjson.loads(penstock(home, "down", "--json").stdout)["stopped"] is False


@pytest.mark.parametrize("command", [["key"], ["status"], ["ask", "Why?"], ["ingest", ".", "--collection", "c"]])
def test_without_a_platform_there_is_one_sentence_and_a_remedy(home: Path, command: list[str]) -> None:
    result = penstock(home, *command)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "penstock up" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_key_prints_the_key_and_nothing_else(home: Path) -> None:
    open_home(home).write_secret(KEY, "pst_abc")
    result = penstock(home, "key")
    assert (result.returncode, result.stdout, result.stderr) == (0, "pst_abc\n", "")


def test_ingest_names_a_path_that_is_not_there(home: Path) -> None:
    result = penstock(home, "ingest", "/nowhere", "--collection", "c")
    assert result.returncode == 2
    assert "/nowhere" in result.stderr


def test_an_unknown_option_is_a_usage_error(home: Path) -> None:
    assert penstock(home, "up", "--profil", "local").returncode == 2
    assert penstock(home, "up", "--port", "70000").returncode == 2


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, {"status": "healthy", "components": {"database": {"status": "healthy", "latency_ms": 1}}}, 0),
        (503, {"status": "unhealthy", "components": {"database": {"status": "unhealthy"}}}, 1),
        (401, {"error": {"code": "AUTHENTICATION_ERROR", "message": "No.", "details": {}, "request_id": None}}, 1),
        (502, "<html>", 2),
    ],
)
async def test_status_says_how_the_parts_are(home: Path, status: int, body: object, code: int) -> None:
    async def health(request: web.Request) -> web.Response:
        assert request.headers["x-api-key"] == "pst_abc"
        return web.Response(text=body) if isinstance(body, str) else web.json_response(body, status=status)

    application = web.Application()
    application.router.add_get("/health/detailed", health)
    async with TestServer(application) as server:
        opened = open_home(home)
        opened.write_secret(KEY, "pst_abc")
        (opened.run / STATE).write_bytes(orjson.dumps({"url": str(server.make_url("")), "dashboard": ""}))
        results = [await _in_thread(home, *command) for command in (["status"], ["status", "--json"])]
    assert [result.returncode for result in results] == [code, code]
    assert "Traceback" not in results[0].stderr
    if code < 2 and isinstance(body, dict) and "status" in body:
        assert body["status"] in results[0].stdout
        assert orjson.loads(results[1].stdout)["components"] == body["components"]


async def _in_thread(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(penstock, home, *arguments)
