"""Embedded Postgres 18: SCRAM, loopback TCP, sized for a small machine."""

import asyncio
import os
import pwd
import secrets
import shutil
import signal
from pathlib import Path
from urllib.parse import quote

import asyncpg

from kit.errors import SetupError
from kit.processes import ProcessIdentity, spawn, stop
from kit.supervisor import last_lines
from serve_app.embedded.home import Home, write_private
from serve_app.embedded.ports import HOST
from serve_app.embedded.server import EmbeddedServer

USER = "penstock"
SECRET = "postgres_password"  # noqa: S105 - the name of a file
SETTINGS = {
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "512MB",
    # Plans of our short queries: compiling or parallelising them costs more than running them.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class Postgres(EmbeddedServer):
    """The server of one home. `initialise` once before the first start."""

    name = "postgres"
    programs = ("postgres", "initdb")
    stop_signal = signal.SIGINT  # "fast": open transactions are rolled back, no waiting for clients to leave
    death_signal = signal.SIGINT
    remedy = "Its log is in PENSTOCK_HOME/logs/postgres.log; DATABASE_URL uses a server of your own instead."

    def __init__(self, home: Home, installation: Path) -> None:
        super().__init__(home)
        self.installation = installation
        self.data = home.postgres / "data"

    def argv(self) -> list[str]:
        """The server in the foreground, settings on its command line."""
        settings = {**SETTINGS, "listen_addresses": HOST, "port": str(self.port)}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return [str(self.installation / "bin" / "postgres"), "-D", str(self.data), *options]

    def folder(self) -> Path:
        """The data folder, where Postgres goes anyway."""
        return self.data

    def url(self, database: str) -> str:
        """The URL of one of its databases, password included."""
        return f"postgresql://{USER}:{quote(self._password())}@{HOST}:{self.port}/{database}"

    async def initialise(self) -> None:
        """Create the data folder if there is none: made aside and renamed, so that it is whole or not there."""
        for leftover in self.home.postgres.glob("new-*"):
            for folder in (leftover, leftover / "data"):
                await self.stop_all_in(folder)
            shutil.rmtree(leftover)
        if self.data.exists():
            self._password()
            return
        _check_name(self.account.uid if self.account else os.geteuid())
        password = secrets.token_urlsafe(32)
        self.home.write_secret(SECRET, password)
        aside = self.home.postgres / f"new-{secrets.token_hex(4)}"
        aside.mkdir(mode=0o700)
        self.home.give(aside)
        password_file = aside / "password"
        write_private(password_file, password)
        self.home.give(password_file)
        await self._initdb(aside / "data", password_file)
        (aside / "data").rename(self.data)
        shutil.rmtree(aside)

    async def prepare(self) -> None:
        """End what is left of an earlier server on this data folder; its pid file may name a stranger by now."""
        await super().prepare()
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    async def ready(self) -> bool:
        """SELECT 1 with our password."""
        try:
            connection = await asyncpg.connect(self.url("postgres"), timeout=5)
        except asyncpg.InvalidPasswordError as error:
            raise SetupError(
                f"The password in {self.home.secrets / SECRET} is not the one of {self.data}.",
                "Restore that file, or move the data folder away to start with an empty one.",
            ) from error
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        try:
            return bool(await connection.fetchval("SELECT 1") == 1)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        finally:
            connection.terminate()

    async def _initdb(self, data: Path, password_file: Path) -> None:
        log = self.home.logs / "initdb.log"
        command = [
            str(self.installation / "bin" / "initdb"),
            *("-D", str(data), "-U", USER, "--auth=scram-sha-256", f"--pwfile={password_file}"),
            *("-E", "UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
        ]
        process = spawn(
            command,
            env={**self.env(), **dict([self.home.marker])},
            cwd=password_file.parent,
            log=log,
            account=self.account,
            death_signal=signal.SIGTERM,
        )
        identity = ProcessIdentity.of(process.pid)
        try:
            while (status := process.poll()) is None:
                await asyncio.sleep(0.02)
        finally:
            if identity is not None:
                await asyncio.to_thread(stop, [identity], 2.0)
            process.wait()
        if status != 0:
            lines = "\n".join(last_lines(log))
            raise SetupError(f"Postgres could not create its data folder:\n{lines}", self.remedy)

    def _password(self) -> str:
        password = self.home.read_secret(SECRET)
        if password is None:
            raise SetupError(
                f"{self.home.secrets / SECRET} is missing, and {self.data} cannot be opened without it.",
                "Restore that file, or move the data folder away to start with an empty one.",
            )
        return password


def _check_name(uid: int) -> None:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise SetupError(
            f"Postgres wants a user with a name, and user id {uid} has none.",
            "Add one to /etc/passwd, or set DATABASE_URL to use a server of your own.",
        ) from None
