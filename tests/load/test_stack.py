import json
import sys
from pathlib import Path

import psutil
import pytest

from load.memory import processes_of
from load.stack import StackError, started_stack, temporary_home

PENSTOCK = '''#!{python}
"""Stands for the command line: starts a server in the background, and writes down what it was asked to do."""
import os, pathlib, signal, subprocess, sys

home = pathlib.Path(os.environ["PENSTOCK_HOME"])
home.mkdir(exist_ok=True)
with (home / "calls").open("a") as calls:
    print(*sys.argv[1:2], file=calls)
server = """
import http.server, os, pathlib
home = pathlib.Path(os.environ["PENSTOCK_HOME"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        known = (home / "ingested").exists() and self.headers["Authorization"] == "Bearer the-key"
        self.send_response(200 if known else 404)
        self.end_headers()
    def log_message(self, *words):
        pass
server = http.server.HTTPServer(("127.0.0.1", int(os.environ["PENSTOCK_SERVER__PORT"])), Handler)
print("listens", flush=True)
server.serve_forever()
"""
command = sys.argv[1]
if command == "up":
    if (home.parent / "broken").exists():
        sys.exit("The port is taken.")
    process = subprocess.Popen([sys.executable, "-c", server], stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    (home / "pid").write_text(str(process.pid))
elif command == "key":
    print("the-key")
elif command == "ingest":
    (home / "ingested").touch()
elif command == "down" and not (home.parent / "deaf").exists() and (home / "pid").exists():
    os.kill(int((home / "pid").read_text()), signal.SIGTERM)
'''


@pytest.fixture
def home(tmp_path, monkeypatch):
    script = tmp_path / "penstock"
    script.write_text(PENSTOCK.format(python=sys.executable))
    script.chmod(0o755)
    # The command is looked for beside the interpreter.
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with temporary_home() as folder:
        yield folder


def calls(home: Path) -> list[str]:
    return (home / "calls").read_text().split()


def test_a_stack_is_started_filled_and_stopped(home):
    said: list[str] = []
    with started_stack("local", home, "http://127.0.0.1:9/v1", said.append) as stack:
        assert stack.key == "the-key"
        assert stack.ready_seconds > 0
        assert len(processes_of(home)) == 1
        assert calls(home) == ["up", "key", "ingest"]
    assert calls(home)[-1] == "down"
    assert processes_of(home) == []
    assert not any("left over" in line for line in said)


def test_the_samples_are_ingested_once_for_all_profiles(home):
    for profile in ("local", "inline"):
        with started_stack(profile, home, "http://127.0.0.1:9/v1", json.dumps):
            pass
    assert calls(home).count("ingest") == 1


def test_a_stack_is_stopped_when_the_measurement_fails(home):
    with pytest.raises(KeyboardInterrupt), started_stack("local", home, "http://127.0.0.1:9/v1", json.dumps):
        raise KeyboardInterrupt
    assert processes_of(home) == []


def test_what_down_leaves_is_killed_and_said(home):
    (home.parent / "deaf").touch()
    said: list[str] = []
    with started_stack("local", home, "http://127.0.0.1:9/v1", said.append):
        pid = processes_of(home)[0].pid
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert any(f"killed: {pid}" in line for line in said)


def test_a_product_that_does_not_start_says_why(home):
    (home.parent / "broken").touch()
    with (
        pytest.raises(StackError, match="exit code 1"),
        started_stack("local", home, "http://127.0.0.1:9/v1", json.dumps),
    ):
        pytest.fail("it must not be measured")
