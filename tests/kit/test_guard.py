"""The guard leaves nothing behind: not children, not orphans, not processes that left the session."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kit import guard
from kit.processes import ProcessIdentity

# Starts a grandchild in a session of its own, writes both pids, and (with "stay") keeps running itself.
PROGRAM = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
CHILD = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
grandchild = subprocess.Popen([sys.executable, "-c", CHILD], start_new_session=True)
open(sys.argv[1] + ".part", "w").write(f"{os.getpid()} {grandchild.pid}")
os.rename(sys.argv[1] + ".part", sys.argv[1])
time.sleep(600 if sys.argv[2] == "stay" else 0)
"""


def start(folder: Path, manner: str) -> "tuple[subprocess.Popen[bytes], list[ProcessIdentity]]":
    pids = folder / "pids"
    command = [sys.executable, "-I", "-S", guard.__file__, "0.3", sys.executable, "-c", PROGRAM, str(pids), manner]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 20
    while not pids.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    found = [ProcessIdentity.of(int(pid)) for pid in pids.read_text().split()]
    return process, [identity for identity in found if identity]


def all_end(processes: list[ProcessIdentity]) -> bool:
    deadline = time.monotonic() + 10
    while any(process.alive() for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_ends_everything_and_succeeds(tmp_path: Path, number: int) -> None:
    process, members = start(tmp_path, "stay")
    process.send_signal(number)
    assert process.wait(20) == 0
    assert all_end(members)


def test_the_programs_end_ends_its_orphans(tmp_path: Path) -> None:
    process, members = start(tmp_path, "leave")
    assert process.wait(20) == 0
    assert all_end(members)


def test_a_killed_program_takes_its_orphans_with_it(tmp_path: Path) -> None:
    process, members = start(tmp_path, "stay")
    os.kill(members[0].pid, signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL % 256 or process.returncode != 0
    assert all_end(members)
