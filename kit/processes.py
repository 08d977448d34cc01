"""Processes known by pid and start time, so that a reused pid is never taken for the process that had it before."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit import launcher

POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process for good: `started` is its start in clock ticks since boot, with the id of that boot."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """The process that has this pid now; None when there is none (a zombie counts as none)."""
        fields = _stat(pid)
        if fields is None or fields[0] in "ZX":
            return None
        return cls(pid, f"{fields[19]}@{_boot_id()}")

    @classmethod
    def current(cls) -> "ProcessIdentity":
        """This process."""
        identity = cls.of(os.getpid())
        if identity is None:
            raise RuntimeError("/proc does not show this process; is it mounted?")
        return identity

    def alive(self) -> bool:
        """Whether exactly this process still runs."""
        return ProcessIdentity.of(self.pid) == self

    def send(self, number: int) -> bool:
        """Send a signal to exactly this process; False when it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            # The handle pins the process: if it is ours now, the signal reaches ours.
            if not self.alive():
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a process runs as."""

    uid: int
    gid: int


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    account: Account | None = None,
    death_signal: int | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own, with exactly `env`, umask 077, output appended to `log` (mode 600).

    account: whom to become first (root only). death_signal: what it gets when this process dies; the kernel sends that
    when the *thread* ends that started the program, so such programs can be started from the main thread only
    (RuntimeError otherwise). A program that cannot be executed exits at once and says why in the log.
    """
    if death_signal and threading.current_thread() is not threading.main_thread():
        raise RuntimeError("Only the main thread may start a program that dies with it.")
    who = account or Account(-1, -1)
    numbers = (os.getpid(), int(death_signal or 0), who.uid, who.gid)
    command = [sys.executable, "-I", "-S", launcher.__file__, *map(str, numbers), str(cwd), *argv]
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            command, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    finally:
        os.close(output)


def processes() -> Iterator[int]:
    """The pids of this moment."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def find_by_marker(name: str, value: str) -> list[ProcessIdentity]:
    """Processes that were started with NAME=VALUE in their environment, this one and its ancestors left out.

    Programs that overwrite their environment to set a process title are not found, nor are those of other users
    unless this one is root.
    """
    wanted = f"{name}={value}".encode()
    found = []
    spared = _self_and_ancestors()
    for pid in processes():
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in variables and pid not in spared and (identity := ProcessIdentity.of(pid)):
            found.append(identity)
    return found


def find_by_folder(folder: Path, programs: Collection[str]) -> list[ProcessIdentity]:
    """Processes whose working folder is exactly this one and whose executable has one of these names.

    Both are asked for, because a person's shell may stand in that folder too.
    """
    wanted = str(folder.resolve())
    found = []
    for pid in processes():
        try:
            current = os.readlink(f"/proc/{pid}/cwd")
            program = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
        except OSError:
            continue
        if current == wanted and Path(program).name in programs and (identity := ProcessIdentity.of(pid)):
            found.append(identity)
    return found


def find_by_open_file(folder: Path) -> list[ProcessIdentity]:
    """Processes that hold a file of this folder open, this one and its ancestors left out."""
    prefix = f"{folder.resolve()}/"
    spared = _self_and_ancestors()
    found = []
    for pid in processes():
        try:
            held = any(os.readlink(entry.path).startswith(prefix) for entry in os.scandir(f"/proc/{pid}/fd"))
        except OSError:
            continue
        if held and pid not in spared and (identity := ProcessIdentity.of(pid)):
            found.append(identity)
    return found


def descendants(roots: Iterable[ProcessIdentity]) -> list[ProcessIdentity]:
    """All children, grandchildren and so on of these processes, at this moment."""
    children: dict[int, list[int]] = {}
    for pid in processes():
        if (fields := _stat(pid)) is not None:
            children.setdefault(int(fields[1]), []).append(pid)
    pending = [root.pid for root in roots if root.alive()]
    found = []
    while pending:
        for child in children.get(pending.pop(), []):
            pending.append(child)
            if identity := ProcessIdentity.of(child):
                found.append(identity)
    return found


def stop(
    roots: Iterable[ProcessIdentity], timeout: float, *, stop_signal: int = signal.SIGTERM
) -> list[ProcessIdentity]:
    """End processes and all their descendants; returns those that had to be killed.

    The roots get `stop_signal` and end their children in their own way; children that outlive their root get SIGTERM;
    what still runs after `timeout` seconds gets SIGKILL. Blocks (use a thread from async code).
    """
    roots = [root for root in roots if root.alive()]
    tree = set(descendants(roots)) - set(roots)
    deadline = time.monotonic() + timeout
    for root in roots:
        root.send(stop_signal)
        root.send(signal.SIGCONT)  # a stopped process would not act on the other one
    asked = False
    while time.monotonic() < deadline:
        living = [root for root in roots if root.alive()]
        tree |= set(descendants(living)) - set(roots)
        orphans = [process for process in tree if process.alive()]
        if not living and not orphans:
            return []
        if not living and not asked:
            asked = True
            for process in orphans:
                process.send(signal.SIGTERM)
        time.sleep(POLL_SECONDS)
    return _kill([*roots, *tree])


def _kill(members: Sequence[ProcessIdentity]) -> list[ProcessIdentity]:
    doomed = {process for process in {*members, *descendants(members)} if process.send(signal.SIGKILL)}
    deadline = time.monotonic() + 2.0
    while any(process.alive() for process in doomed) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return list(doomed)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on (0: state, 1: parent, 19: start); None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def _self_and_ancestors() -> set[int]:
    found = set()
    pid = os.getpid()
    while pid > 0 and (fields := _stat(pid)) is not None:
        found.add(pid)
        pid = int(fields[1])
    return found


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
