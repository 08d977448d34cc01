"""A platform's services run by a process of their own, as root or as a plain user, that tests can kill."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from kit.processes import Account, ProcessIdentity, find_by_marker, stop
from serve_app.embedded.home import MARKER, reachable

DRIVER = Path(__file__).parent / "driver.py"
PLAIN = Account(1, 1)
"""`daemon`: a user that every system has, as Postgres wants one with a name."""


class Platform:
    """Starts `driver.py` on one home. `plain`: as an unprivileged user (the tests themselves run as root)."""

    def __init__(self, home: Path, *, plain: bool = False) -> None:
        self.home = home
        self.prefix = _as_plain_user() if plain else []
        self.process = None
        if plain:
            os.chown(home, PLAIN.uid, PLAIN.gid)

    def launch(self, **environment: str) -> subprocess.Popen:
        """Start it and do not wait."""
        self.process = subprocess.Popen(
            [*self.prefix, sys.executable, str(DRIVER), str(self.home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(DRIVER.parents[3]), "PYTHONDONTWRITEBYTECODE": "1"}
            | environment,
        )
        return self.process

    def start(self) -> dict:
        """Start it and wait until it is up: its URLs and the pids of the servers."""
        line = self.launch().stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        return json.loads(line)

    def events_until(self, kind: str, service: str) -> None:
        """Wait until the supervisor reports this."""
        while json.loads(self.process.stdout.readline()) != [kind, service]:
            pass

    def end(self, number: int) -> str:
        """Send a signal and wait for the end; what it wrote to stderr."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=30)[1]

    @property
    def living(self) -> list[ProcessIdentity]:
        """Every process of this home."""
        file = self.home / "secrets" / "home_id"
        return find_by_marker(MARKER, file.read_text().strip()) if file.exists() else []

    def gone(self) -> None:
        """Wait until no process of this home is left."""
        deadline = time.monotonic() + 10
        while left := self.living:
            assert time.monotonic() < deadline, left
            time.sleep(0.02)

    def close(self) -> None:
        """End everything, whatever state it is in."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        stop(self.living, 5.0)


def _as_plain_user() -> list[str]:
    command = ["setpriv", f"--reuid={PLAIN.uid}", f"--regid={PLAIN.gid}", "--clear-groups"]
    if not reachable(Path(sys.executable).resolve(), PLAIN):
        # This Python lies in a closed folder. The right to read it, and no other, comes along.
        command += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return command


@pytest.fixture
def platform(request):
    """A platform on a new home, of the user who runs the tests; of a plain user with the indirect parameter True."""
    plain = getattr(request, "param", False)
    if plain and (os.geteuid() != 0 or shutil.which("setpriv") is None):
        pytest.skip("the tests run as a plain user already, or there is no setpriv")
    home = Path(tempfile.mkdtemp(prefix="pst-"))
    platform = Platform(home, plain=plain)
    yield platform
    platform.close()
    shutil.rmtree(home)
