"""PENSTOCK_HOME: one folder with all local state, used by one running platform at a time.

    bin/      copies of server programs that the servers' user could not reach otherwise
    postgres/ redis/   data, owned by the servers' user
    models/   exported models         run/   records of processes, services.json
    logs/     one file a service      secrets/   passwords and keys, files of mode 600

All folders have mode 700. Postgres refuses to run as root; for root, the servers run as an unprivileged user, which
then owns the home's top folder and the data folders, and nothing else in it.
"""

import contextlib
import fcntl
import json
import os
import pwd
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.errors import SetupError
from kit.processes import Account, ProcessIdentity

SERVER_USERS = ("penstock", "nobody")
"""Whom servers run as when root starts them: the first that exists."""
MARKER = "PENSTOCK_RUN"
"""Environment variable with the home's id in every process of a running platform."""


@dataclass(frozen=True, slots=True)
class Home:
    """An opened home. `account`: whom the servers run as; None: as this process."""

    path: Path
    id: str
    account: Account | None

    @property
    def bin(self) -> Path:
        """Copies of server programs."""
        return self.path / "bin"

    @property
    def postgres(self) -> Path:
        """Postgres' folder."""
        return self.path / "postgres"

    @property
    def redis(self) -> Path:
        """Redis' folder."""
        return self.path / "redis"

    @property
    def models(self) -> Path:
        """Exported models."""
        return self.path / "models"

    @property
    def run(self) -> Path:
        """Records of processes."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """Logs of services."""
        return self.path / "logs"

    @property
    def secrets(self) -> Path:
        """Passwords and keys."""
        return self.path / "secrets"

    @property
    def marker(self) -> tuple[str, str]:
        """The environment variable by which processes of this home are known."""
        return MARKER, self.id

    def read_secret(self, name: str) -> str | None:
        """A secret's text; None when there is no such file."""
        with contextlib.suppress(FileNotFoundError):
            return (self.secrets / name).read_text().strip() or None
        return None

    def write_secret(self, name: str, text: str) -> None:
        """Keep a secret: mode 600, written whole or not at all."""
        write_private(self.secrets / name, text + "\n")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold this home alone. SetupError names the process that holds it already. Ends with this process."""
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = self.holder()
                who = f"process {holder.pid}" if holder else "another process"
                raise SetupError(
                    f"{self.path} is in use by {who}.",
                    "Stop it with `penstock down`, or set PENSTOCK_HOME to another folder.",
                ) from None
            identity = ProcessIdentity.current()
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": identity.pid, "started": identity.started}).encode(), 0)
            try:
                yield
            finally:
                os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def holder(self) -> ProcessIdentity | None:
        """The process that holds the lock; None when nobody does."""
        try:
            record = json.loads((self.path / "lock").read_text())
            identity = ProcessIdentity(record["pid"], record["started"])
        except (OSError, ValueError, KeyError):
            return None
        return identity if identity.alive() else None

    def give(self, path: Path) -> None:
        """Make the servers' user the owner of a file or folder."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)


def open_home(path: Path) -> Home:
    """Create what is missing of a home and open it.

    Raises SetupError when it cannot be written, belongs to somebody else, or lies where the servers' user cannot go.
    """
    path = path.expanduser().absolute()
    account = _servers_account() if os.geteuid() == 0 else None
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        home = Home(path.resolve(), "", account)
        _check_owner(home)
        for folder in (home.bin, home.postgres, home.redis, home.models, home.run, home.logs, home.secrets):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
        home.bin.chmod(0o755)  # the servers' user runs programs from there; nobody else gets past the home itself
        home.path.chmod(0o700)
        for folder in (home.path, home.postgres, home.redis):
            home.give(folder)
    except OSError as error:
        raise SetupError(
            f"PENSTOCK_HOME {path} cannot be used: {error.strerror} ({error.filename}).",
            "Set PENSTOCK_HOME to a folder that you can write.",
        ) from error
    if account is not None and not reachable(home.postgres, account):
        raise SetupError(
            f"The servers run as user {_name(account.uid)}, who cannot enter {home.path}.",
            "Set PENSTOCK_HOME to a folder whose parents others may enter, such as /var/lib/penstock.",
        )
    return Home(home.path, _home_id(home), account)


def reachable(path: Path, account: Account) -> bool:
    """Whether that user can enter (a folder) or execute (a file) this path. The kernel is asked, as that user."""
    command = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)]
    result = subprocess.run(command, user=account.uid, group=account.gid, extra_groups=[], cwd="/", check=False)
    return result.returncode == 0


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 600, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _servers_account() -> Account:
    for name in SERVER_USERS:
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return Account(user.pw_uid, user.pw_gid)
    raise SetupError("Postgres does not run as root, and there is no user for it.", "Add one: useradd -r penstock")


def _check_owner(home: Home) -> None:
    owner = home.path.stat().st_uid
    allowed = {os.geteuid()} | ({home.account.uid} if home.account else set())
    if owner not in allowed:
        raise SetupError(
            f"PENSTOCK_HOME {home.path} belongs to user {_name(owner)}.",
            "Run as that user, or set PENSTOCK_HOME to another folder.",
        )


def _home_id(home: Home) -> str:
    file = home.secrets / "home_id"
    if not file.exists():
        proposal = home.secrets / f".home_id.{secrets.token_hex(4)}"
        write_private(proposal, secrets.token_hex(8) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(proposal, file)  # unlike a rename, this leaves an id that another process has just written
        proposal.unlink()
    return file.read_text().strip()


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
