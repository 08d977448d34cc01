import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kit.processes import Account, ProcessIdentity, descendants, find_by_folder, find_by_marker, spawn, stop

SLEEP = "/bin/sleep"
STRANGER = Account(54321, 54321)


def eventually(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
    return result


def started(process):
    """The identity of a spawned program once it is itself, not the launcher any more."""
    identity = ProcessIdentity.of(process.pid)
    eventually(lambda: b"launcher.py" not in Path(f"/proc/{process.pid}/cmdline").read_bytes())
    return identity


@pytest.fixture
def run(tmp_path):
    """Spawns programs and ends them after the test."""
    spawned = []

    def spawn_one(*argv, env=None, **options):
        process = spawn(argv, env=env or {}, cwd=tmp_path, log=tmp_path / "log", **options)
        spawned.append(process)
        return process

    yield spawn_one
    for process in spawned:
        process.kill()
        process.wait()


def test_an_identity_is_not_fooled_by_a_pid_that_somebody_else_has_now(run):
    identity = started(run(SLEEP, "60"))
    assert identity.alive()
    impostor = ProcessIdentity(identity.pid, "1@another boot")
    assert not impostor.alive()
    assert not impostor.send(signal.SIGKILL)
    assert identity.alive()


def test_a_zombie_counts_as_gone(run):
    process = run("/bin/true")
    identity = ProcessIdentity(process.pid, "")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert ProcessIdentity.of(process.pid) is None
    assert not identity.alive()


def test_a_program_gets_exactly_the_environment_it_was_given(run, tmp_path):
    run("/usr/bin/env", env={"ONLY": "this"}).wait()
    assert (tmp_path / "log").read_text() == "ONLY=this\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_program_that_cannot_be_executed_says_so_in_its_log(run, tmp_path):
    assert run("/nowhere/server").wait() != 0
    assert "Cannot start /nowhere/server" in (tmp_path / "log").read_text()


def test_processes_are_found_by_a_mark_in_their_environment(run):
    identity = started(run(SLEEP, "60", env={"MARK": "mine"}))
    started(run(SLEEP, "60", env={"MARK": "other"}))
    assert find_by_marker("MARK", "mine") == [identity]


def test_processes_are_found_by_folder_and_program_so_that_a_shell_standing_there_is_spared(run, tmp_path):
    identity = started(run(SLEEP, "60"))
    started(run(sys.executable, "-c", "import time; time.sleep(60)"))
    program = Path(f"/proc/{identity.pid}/exe").resolve().name
    assert find_by_folder(tmp_path, [program]) == [identity]


def test_stop_ends_the_whole_tree(run):
    root = started(run("/bin/sh", "-c", "sleep 60 & sleep 60 & wait"))
    children = eventually(lambda: len(found := descendants([root])) == 2 and found)
    assert stop([root], 5.0) == []
    assert not any(process.alive() for process in [root, *children])


def test_what_ignores_the_signal_is_killed(run, tmp_path):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
    root = started(run(sys.executable, "-c", code))
    eventually(lambda: "on" in (tmp_path / "log").read_text())
    assert stop([root], 0.1) == [root]
    assert not root.alive()


PARENT = """
import os, signal, sys
from pathlib import Path
from kit.processes import Account, spawn
uid = int(sys.argv[2])
command = ["/bin/sh", "-c", "id -u; id -G; sleep 60"]
child = spawn(command, env={"PATH": os.defpath}, cwd=Path("/"), log=Path(sys.argv[1]),
              account=Account(uid, uid) if uid >= 0 else None, death_signal=signal.SIGKILL)
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.parametrize("uid", [-1, STRANGER.uid] if os.geteuid() == 0 else [-1])
def test_a_program_dies_with_its_parent_even_after_it_gave_up_its_privileges(tmp_path, uid):
    log = tmp_path / "log"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(log), str(uid)], stdout=subprocess.PIPE, text=True)
    child = ProcessIdentity.of(int(parent.stdout.readline()))
    eventually(lambda: log.exists() and len(log.read_text().splitlines()) == 2)
    if uid >= 0:
        assert log.read_text().splitlines() == [str(uid), str(uid)]
    assert child.alive()
    parent.kill()
    parent.wait()
    eventually(lambda: not child.alive())


def test_only_the_main_thread_may_start_a_program_that_dies_with_it(tmp_path):
    problems = []

    def attempt():
        try:
            spawn([SLEEP, "60"], env={}, cwd=tmp_path, log=tmp_path / "log", death_signal=signal.SIGTERM)
        except RuntimeError as error:
            problems.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert len(problems) == 1
