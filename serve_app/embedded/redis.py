"""Embedded Redis: password, loopback TCP, an append-only file, a bound on memory."""

import secrets
import signal
from pathlib import Path
from urllib.parse import quote

import redis.asyncio
from redis.exceptions import AuthenticationError, RedisError

from kit.errors import SetupError
from serve_app.embedded.home import Home, write_private
from serve_app.embedded.ports import HOST
from serve_app.embedded.server import EmbeddedServer

SECRET = "redis_password"  # noqa: S105 - the name of a file
CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir {folder}
protected-mode yes
daemonize no
# The title would overwrite the environment, and with it the mark by which our processes are known.
set-proc-title no
appendonly yes
appendfsync everysec
save ""
maxmemory 256mb
# What may be lost has an expiry (cached answers); counters, locks and reservations that must stay have none.
maxmemory-policy volatile-lru
tcp-keepalive 60
"""


class Redis(EmbeddedServer):
    """The server of one home."""

    name = "redis"
    programs = ("redis-server",)
    stop_signal = signal.SIGTERM
    death_signal = signal.SIGTERM
    remedy = "Its log is in PENSTOCK_HOME/logs/redis.log; REDIS_URL uses a server of your own instead."

    def __init__(self, home: Home, program: Path) -> None:
        super().__init__(home)
        self.program = program

    def argv(self) -> list[str]:
        """The server in the foreground; its password is in the configuration file."""
        return [str(self.program), str(self._configuration)]

    def folder(self) -> Path:
        """The data folder."""
        return self.home.redis

    def url(self) -> str:
        """The server's URL, password included."""
        return f"redis://:{quote(self._password())}@{HOST}:{self.port}/0"

    async def prepare(self) -> None:
        """Write the configuration, too."""
        await super().prepare()
        text = CONFIGURATION.format(
            host=HOST, port=self.port, password=self._password(), folder=_quoted(self.home.redis)
        )
        write_private(self._configuration, text)
        self.home.give(self._configuration)

    async def ready(self) -> bool:
        """PING with our password; a server that loads its file says no."""
        client = redis.asyncio.Redis.from_url(self.url(), socket_timeout=5, socket_connect_timeout=5)
        try:
            return bool(await client.ping())
        except AuthenticationError as error:
            what = f"Another program answers on port {self.port}."
            raise SetupError(what, "Try again: a new port is chosen.") from error
        except (RedisError, OSError):
            return False
        finally:
            await client.aclose()

    @property
    def _configuration(self) -> Path:
        return self.home.redis / "redis.conf"

    def _password(self) -> str:
        password = self.home.read_secret(SECRET)
        if password is None:
            password = secrets.token_urlsafe(32)
            self.home.write_secret(SECRET, password)
        return password


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
