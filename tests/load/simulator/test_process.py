import os
import socket
import subprocess
import sys

from load.loopback import loopback_address
from load.simulator.process import ROOT
from tests.load.simulator.conftest import eventually


def test_it_ends_when_the_process_that_started_it_is_killed():
    program = (
        "import time\nfrom load.simulator.process import simulator\n"
        "with simulator(validate=False) as sim:\n    print(sim.pid, flush=True)\n    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    eventually(lambda: not runs(pid))


def test_a_port_in_use_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = start("--port", str(taken.getsockname()[1]), "--no-validate")
    assert done.returncode == 2
    assert "cannot listen on port" in done.stderr


def test_wrong_arguments_are_refused():
    assert "no fault 'nonsense'" in start("--no-validate", "--fault", "nonsense=0.1").stderr
    assert start("--no-validate", "--port", "99999").returncode == 2


def test_without_validation_no_sdk_is_imported():
    program = (
        "import sys\nfrom load.simulator import cli, server, service\n"
        "print([name for name in ('openai', 'anthropic', 'groq') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_bytes_that_are_not_http_get_an_error_and_no_more(sim):
    address = loopback_address(sim.url)
    with socket.create_connection((address.host, address.port), timeout=10) as connection:
        connection.sendall(b"hello\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")
        assert connection.recv(65536) == b""


def test_an_unknown_path_is_said(sim):
    address = loopback_address(sim.url)
    with socket.create_connection((address.host, address.port), timeout=10) as connection:
        connection.sendall(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 404")


def start(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "load.simulator", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
