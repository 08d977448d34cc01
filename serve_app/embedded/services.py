"""Starts the embedded servers of a home, or takes the operator's own, and says where they are.

    home = open_home(settings.home)
    with home.lock():
        await stop_leftovers(home)
        async with Supervisor(home.run, home.logs, marker=home.marker) as supervisor:
            urls = await start_services(settings, supervisor, home)

Other programs of the same home read the URLs with `read_service_urls`.
"""

import asyncio
import json
from dataclasses import asdict, dataclass

import asyncpg
import redis.asyncio
from pydantic import SecretStr
from redis.exceptions import RedisError

from deployments.settings import Settings
from kit.errors import SetupError
from kit.postgres import host_of, with_default_database
from kit.processes import find_by_marker, stop
from kit.supervisor import StartError, Supervisor, stop_recorded
from serve_app.embedded.binaries import postgres_folder, redis_server
from serve_app.embedded.home import Home, write_private
from serve_app.embedded.ports import is_free, port_for
from serve_app.embedded.postgres import Postgres
from serve_app.embedded.redis import Redis
from serve_app.embedded.server import EmbeddedServer

CONTROL_DATABASE = "penstock_control"
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class ServiceUrls:
    """database_url: the control database. Both hold passwords: never log them."""

    database_url: str
    redis_url: str

    def __repr__(self) -> str:
        return f"ServiceUrls(database={host_of(self.database_url)}, redis={host_of(self.redis_url)})"

    def environment(self) -> dict[str, str]:
        """The variables by which child processes learn them."""
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}


async def stop_leftovers(home: Home) -> None:
    """End what a killed supervisor of this home left behind. Hold the home's lock."""
    await asyncio.to_thread(stop_recorded, home.run, 3.0)
    await asyncio.to_thread(stop, find_by_marker(*home.marker), 3.0)


async def start_services(settings: Settings, supervisor: Supervisor, home: Home) -> ServiceUrls:
    """Start Postgres and Redis, those with a URL in the settings left out, and wait until both answer.

    Writes home/run/services.json. Must run in the main thread, under the home's lock. Raises SetupError when a program
    is missing, does not start, or a server of the operator's does not answer.
    """
    urls = ServiceUrls(
        database_url=await _postgres(settings.database.url, supervisor, home),
        redis_url=await _redis(settings.redis.url, supervisor, home),
    )
    write_private(home.run / "services.json", json.dumps(asdict(urls)))
    return urls


def read_service_urls(home: Home) -> ServiceUrls:
    """Where the services of a running platform are. SetupError when it does not run."""
    try:
        if home.holder() is None:
            raise FileNotFoundError
        return ServiceUrls(**json.loads((home.run / "services.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        raise SetupError(f"No services run in {home.path}.", "Start them with `penstock up`.") from None


async def _postgres(own: SecretStr | None, supervisor: Supervisor, home: Home) -> str:
    if own is not None:
        url = with_default_database(own.get_secret_value(), CONTROL_DATABASE)
        await _check_postgres(url)
        return url
    server = Postgres(home, await asyncio.to_thread(postgres_folder, home))
    await server.initialise()
    await _start(server, supervisor, home)
    return server.url(CONTROL_DATABASE)


async def _redis(own: SecretStr | None, supervisor: Supervisor, home: Home) -> str:
    if own is not None:
        await _check_redis(own.get_secret_value())
        return own.get_secret_value()
    server = Redis(home, await asyncio.to_thread(redis_server, home))
    await _start(server, supervisor, home)
    return server.url()


async def _start(server: EmbeddedServer, supervisor: Supervisor, home: Home) -> None:
    """Start a server on its port; on another one when a stranger took the port between our look and the start."""
    for attempt in range(1, ATTEMPTS + 1):
        # A leftover server of our own must be gone before its port is judged.
        await server.prepare()
        server.port = port_for(home, server.name)
        try:
            await supervisor.start(server)
        except StartError:
            if attempt == ATTEMPTS or is_free(server.port):
                raise
        else:
            return


async def _check_postgres(url: str) -> None:
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except asyncpg.InvalidCatalogNameError:
        return  # the server answers; the database is created later
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise SetupError(
            f"The Postgres of DATABASE_URL ({host_of(url)}) does not answer: {error or type(error).__name__}.",
            "Correct DATABASE_URL, or remove it to use the embedded Postgres.",
        ) from error
    await connection.close()


async def _check_redis(url: str) -> None:
    try:
        async with redis.asyncio.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=10) as client:
            await client.ping()
    except (OSError, RedisError, ValueError) as error:
        raise SetupError(
            f"The Redis of REDIS_URL ({host_of(url)}) does not answer: {error or type(error).__name__}.",
            "Correct REDIS_URL, or remove it to use the embedded Redis.",
        ) from error
