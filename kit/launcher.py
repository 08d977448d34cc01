"""Turns itself into another program, unprivileged and bound to its parent's life. Run as a script by `processes.spawn`.

A program of its own because the steps must happen between fork and exec, in this order, and Python code that runs
there in a process with threads can deadlock: drop the privileges; ask for a signal on the parent's death (a change of
credentials would clear that); look whether the parent died meanwhile; exec. It imports the standard library only, and
all of it before it drops what lets it read those files.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Arguments: parent's pid, death signal (0: none), uid, gid (-1: keep), working folder, then the command."""
    parent, death_signal, uid, gid = (int(argument) for argument in arguments[:4])
    folder, command = arguments[4], arguments[5:]
    libc = ctypes.CDLL(None, use_errno=True)
    environment = given_environment()
    os.umask(0o077)
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if death_signal:
        if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent:
            sys.exit("The parent is gone.")
    try:
        os.chdir(folder)
        os.execve(command[0], command, environment)  # noqa: S606 - the whole purpose
    except OSError as error:
        sys.exit(f"Cannot start {command[0]} in {folder}: {error.strerror}")


def given_environment() -> dict[bytes, bytes]:
    """The environment this process was started with: Python adds LC_CTYPE to its own in the C locale (PEP 538)."""
    with open("/proc/self/environ", "rb") as file:
        return dict(entry.split(b"=", 1) for entry in file.read().split(b"\0") if b"=" in entry)


if __name__ == "__main__":
    main(sys.argv[1:])
