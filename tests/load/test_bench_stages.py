import json
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from load.bench_stages import main
from load.memory import memory_of, processes_of
from load.report import show
from load.simulator.process import ROOT, SimulatorProcess, simulator
from load.stack import stack_environment, temporary_home
from load.targets import judged


@pytest.fixture(scope="module")
def upstream() -> Iterator[SimulatorProcess]:
    with simulator(tokens=28, validate=False) as running:
        yield running


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "load.bench_stages", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_run_against_a_server_writes_a_table_json_and_a_plot(upstream, tmp_path):
    file, plot = tmp_path / "new" / "figures.json", tmp_path / "figures.png"
    done = bench(
        "--url", upstream.url, "--simulator-url", upstream.url, "--key", "any", "--seconds", "0.2",
        "--profiles", "inline", "--paths", "direct,chat,direct-stream,chat-stream",
        "--json", str(file), "--plot", str(plot),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "profile inline" in done.stdout
    report = json.loads(file.read_text())
    paths = report["profiles"]["inline"]["paths"]
    assert set(paths) == {"direct", "chat", "direct-stream", "chat-stream"}
    assert (paths["chat"]["alone"]["connections"], paths["chat"]["busy"]["connections"]) == (1, 32)
    assert paths["chat-stream"]["busy"]["connections"] == 16
    chat = paths["chat"]["alone"]
    assert chat["latency_ms"]["p50"] <= chat["latency_ms"]["p95"] <= chat["latency_ms"]["p99"]
    assert chat["upstream_requests"] == chat["requests"]
    direct = paths["direct"]["alone"]
    assert chat["ratio_to_direct"] == pytest.approx(
        chat["requests_per_second"] / direct["requests_per_second"], rel=0.01
    )
    assert chat["added_p50_ms"] == pytest.approx(chat["latency_ms"]["p50"] - direct["latency_ms"]["p50"], abs=0.001)
    assert paths["chat-stream"]["alone"]["events"] == 30 * paths["chat-stream"]["alone"]["requests"]
    assert report["machine"]["cores"] >= 1
    assert report["problems"] == []
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_path_that_gives_errors_is_a_problem_and_not_a_figure(upstream, tmp_path):
    file = tmp_path / "figures.json"
    done = bench(
        "--url", upstream.url, "--simulator-url", upstream.url, "--key", "any", "--seconds", "0.1", "--paths", "search",
        "--json", str(file),
    )  # fmt: skip
    assert done.returncode == 1
    report = json.loads(file.read_text())
    assert report["profiles"]["local"]["paths"]["search"]["alone"]["latency_ms"] is None
    assert any("status 404" in problem for problem in report["problems"])


def test_answers_that_did_not_come_from_the_simulator_are_a_problem(upstream):
    with simulator(tokens=1, validate=False) as other:
        done = bench(
            "--url", upstream.url, "--simulator-url", other.url, "--key", "any", "--seconds", "0.1", "--paths", "chat"
        )  # fmt: skip
    assert done.returncode == 1
    assert "only 0 of" in done.stdout


def test_answers_of_the_simulator_where_the_product_itself_should_answer_are_a_problem(upstream):
    done = bench(
        "--url", upstream.url, "--simulator-url", upstream.url, "--key", "any", "--seconds", "0.1",
        "--paths", "grounded",
    )  # fmt: skip
    assert done.returncode == 1
    assert "which should have had none" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--paths", "nowhere"], "no such path: nowhere"),
        (["--profiles", "huge"], "profiles are"),
        (["--url", "http://example.com", "--key", "k"], "not this machine"),
        (["--url", "http://127.0.0.1:9"], "needs --key"),
        (["--simulator-url", "http://127.0.0.1:9"], "go with --url"),
        (["--seconds", "0"], "--seconds must be"),
        (["--paths", "bare-1", "--no-bare"], "leaves none"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_starts(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "python -m load.bench_stages --profiles inline" in capsys.readouterr().out


def test_a_stack_gets_nothing_of_the_callers_installation():
    inherited = {
        "PATH": "/bin",
        "PENSTOCK_HOME": "/somewhere",
        "PENSTOCK_LOG_LEVEL": "DEBUG",
        "DATABASE_URL": "postgresql://production",
        "OPENAI_API_KEY": "sk-costs-money",
    }
    assert stack_environment(inherited, Path("/tmp/x/h"), 8123, "http://127.0.0.1:9/v1") == {
        "PATH": "/bin",
        "PENSTOCK_HOME": "/tmp/x/h",
        "PENSTOCK_SERVER__PORT": "8123",
        "PENSTOCK_PROVIDER_CALLER__COMPATIBLE_BASE_URL": "http://127.0.0.1:9/v1",
        "PENSTOCK_PROVIDER_CALLER__COMPATIBLE_MODELS": "mock-model",
    }


def test_a_temporary_home_is_gone_afterwards():
    with temporary_home() as home:
        home.mkdir()
        (home / "state").write_text("x")
    assert not home.parent.exists()


def test_the_memory_of_a_stack_is_that_of_its_processes_and_their_children():
    program = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], env={})\n"
        "print(child.pid, flush=True)\n"
        "ballast = b'x' * 50_000_000\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    with temporary_home() as home:
        process = subprocess.Popen(
            [sys.executable, "-c", program], env={"PENSTOCK_HOME": str(home)}, stdout=subprocess.PIPE, text=True
        )
        child = int(process.stdout.readline())
        process.stdout.readline()
        try:
            found = processes_of(home)
            memory = memory_of(found)
        finally:
            for one in found:
                one.kill()
            process.wait()
            process.stdout.close()
        assert {one.pid for one in found} == {process.pid, child}
        assert memory["processes"] == 2
        assert memory["bytes"] >= 50_000_000
        assert memory["bytes"] == sum(group["bytes"] for group in memory["groups"])


def test_targets_are_judged_only_where_something_was_measured_without_errors():
    alone = {"latency_ms": {"p50": 2.0, "p95": 3.0}, "added_p50_ms": 1.5}
    busy = {"requests_per_second": 650.0}
    broken = alone | {"errors": {"status 500": 3}}
    paths = {"chat": {"alone": alone, "busy": busy}, "grounded": {"alone": broken, "busy": broken}}
    verdicts = judged({"local": {"memory": None, "paths": paths}})
    assert {verdict["name"]: verdict["met"] for verdict in verdicts} == {
        "explicit chat adds, p50 alone": True,
        "explicit chat, 32 connections": False,
    }


def measured(p50: float, requests_per_second: float, **fields: object) -> dict[str, dict[str, object]]:
    return {
        "alone": {"latency_ms": {"p50": p50, "p95": p50}, **fields},
        "busy": {"requests_per_second": requests_per_second, **fields},
    }


def test_on_a_slower_machine_the_ratios_to_the_bare_application_say_what_the_absolute_limits_cannot():
    paths = {
        "bare-0": measured(0.6, 2000.0),
        "noop": measured(0.8, 1500.0),
        "bare-1": measured(2.8, 570.0),
        "chat": measured(4.5, 399.0, added_p50_ms=4.2),
    }
    verdicts = judged({"local": {"memory": None, "paths": paths}})
    assert [(verdict["name"], verdict["measured"], verdict["met"]) for verdict in verdicts] == [
        ("explicit chat adds, p50 alone", 4.2, False),
        ("explicit chat adds / bare one hop, p50 alone", 1.5, True),
        ("explicit chat, 32 connections", 399.0, False),
        ("explicit chat / bare one hop, 32 connections", 0.7, True),
        ("liveness, 32 connections", 1500.0, None),
        ("liveness / bare no hop, 32 connections", 0.75, None),
    ]


def test_there_is_no_ratio_to_a_bare_application_that_gave_errors():
    paths = {
        "bare-1": measured(2.8, 570.0, errors={"status 503": 1}),
        "chat": measured(4.5, 399.0, added_p50_ms=4.2),
    }
    names = [verdict["name"] for verdict in judged({"local": {"memory": None, "paths": paths}})]
    assert names == ["explicit chat adds, p50 alone", "explicit chat, 32 connections"]


def test_targets_are_shown_with_their_limits_and_where_those_come_from():
    console = Console(width=132, record=True, file=StringIO())
    paths = {"bare-0": measured(0.6, 2000.0), "noop": measured(0.8, 12345.6)}
    targets = judged({"local": {"memory": None, "paths": paths}})
    show({"machine": {"cpu": "x", "cores": 2, "memory_bytes": 2**30}, "profiles": {}, "targets": targets,
          "problems": []}, console)  # fmt: skip
    shown = console.export_text()
    assert "12,345.6 requests/s" in shown
    assert "6.17 x" in shown
    assert "met" not in shown
    assert "docs/decisions/0001" in shown
