"""Runs a program and sees to it that nothing of it outlives this process: no child, no orphan of a child.

    python -I -S guard.py SECONDS PROGRAM [ARGUMENT ...]

The guard is a "subreaper" (prctl(2)): a process whose parent dies becomes the guard's child instead of init's, so every
descendant can be found for as long as it lives, whatever it did to its name, its environment or its session. When the
program ends or the guard is told to (SIGTERM, SIGINT), all of them get SIGTERM, and after SECONDS what still runs gets
SIGKILL. Standard library only, so that it starts fast and stays small.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

PR_SET_CHILD_SUBREAPER = 36
PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.02


class EndRequestedError(Exception):
    """The guard was asked to end."""


def descendants(root: int) -> list[int]:
    """Children, grandchildren and so on of a process, zombies left out."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{name}/stat").read_text(errors="replace")
            state, parent = text[text.rindex(")") + 2 :].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(name))
    found: list[int] = []
    pending = [root]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found


def end_all(seconds: float) -> None:
    """End every descendant of this process: SIGTERM, then SIGKILL until none is left."""
    deadline = time.monotonic() + seconds
    asked: set[int] = set()
    while living := descendants(os.getpid()):
        late = time.monotonic() > deadline
        for pid in living if late else set(living) - asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        asked |= set(living)
        _reap()
        time.sleep(POLL_SECONDS)
    _reap()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _told(number: int, frame: FrameType | None) -> None:
    raise EndRequestedError


def _die_with_guard() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    """The program's exit code, or 0 when the guard was told to end."""
    seconds, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    code = 0
    try:
        signal.signal(signal.SIGTERM, _told)
        signal.signal(signal.SIGINT, _told)
        program = subprocess.Popen(command, preexec_fn=_die_with_guard)
        while (ended := program.poll()) is None:
            time.sleep(0.2)
            _reap_orphans(program.pid)
        code = ended
    except EndRequestedError:
        pass
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_all(float(seconds))
    return code


def _reap_orphans(program: int) -> None:
    """Take the exit status of adopted orphans, but never the program's own."""
    while True:
        try:
            result = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if result is None or result.si_pid in (0, program):
            return
        os.waitpid(result.si_pid, 0)


if __name__ == "__main__":
    sys.exit(main())
