"""Brings a database to the newest schema with Alembic, one migrator at a time."""

from pathlib import Path
from typing import Any, Literal

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import kit.postgres
from kit.errors import SetupError
from kit.postgres import database_of, database_url, lost_server_is_unavailable

Kind = Literal["control", "tenant"]

FOLDER = Path(__file__).parent / "migrations"
LOCK = 0x70656E73
"""Key of the advisory lock; such locks belong to one database."""
MAINTENANCE_DATABASE = "postgres"
"""A database that every server has, to connect to while ours does not exist."""


def newest_version(kind: Kind) -> str:
    """The version that migrations of this kind lead to."""
    head = ScriptDirectory(str(FOLDER / kind)).get_current_head()
    if head is None:
        raise RuntimeError(f"There are no {kind} migrations.")
    return head


async def migrate(url: str, kind: Kind) -> str:
    """Bring one database to the newest version and return that; all in one transaction, so that it happens or not.

    Raises UnavailableError when the server is lost, SetupError when it lacks pgvector or forbids it.
    """

    async def connect(*_: Any, **__: Any) -> kit.postgres.Connection:
        return await asyncpg.connect(url, timeout=10)  # understands every option of a URL, which SQLAlchemy does not

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        with lost_server_is_unavailable():
            async with engine.begin() as connection:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
                await connection.run_sync(_upgrade, kind)
    except DBAPIError as error:
        if "vector" not in str(error.orig):
            raise
        raise SetupError(
            f"Database {database_of(url)} cannot have the extension `vector`: {error.orig}",
            "Install pgvector on the server, or let an administrator run `CREATE EXTENSION vector` there.",
        ) from error
    finally:
        await engine.dispose()
    return newest_version(kind)


async def create_database(url: str) -> bool:
    """Create the database that a URL names if there is none; whether it was created now.

    SetupError when the URL's user may not create databases.
    """
    name = database_of(url)
    try:
        with lost_server_is_unavailable():
            try:
                await (await asyncpg.connect(url, timeout=10)).close()
            except asyncpg.InvalidCatalogNameError:
                pass
            else:
                return False
            connection = await asyncpg.connect(database_url(url, MAINTENANCE_DATABASE), timeout=10)
            try:
                await connection.execute(
                    f'CREATE DATABASE "{name.replace(chr(34), chr(34) * 2)}" TEMPLATE template0 ENCODING UTF8'
                )
            finally:
                await connection.close()
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        return False  # somebody else created it at the same moment
    except asyncpg.InsufficientPrivilegeError as error:
        raise SetupError(
            f"Database {name} does not exist and this user may not create it: {error}.",
            f'Grant it with `ALTER ROLE … CREATEDB`, or create the database "{name}".',
        ) from error
    return True


def _upgrade(connection: Connection, kind: Kind) -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER / kind).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
