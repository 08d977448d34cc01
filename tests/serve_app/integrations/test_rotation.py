"""`penstock keys rotate`, beside a process that uses the keys."""

import asyncio
import os
import sys
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from kit.crypto import EncryptionKey, FileKeys, key_id_of

GOOD = "sk-good-0123456789-abcd"


@pytest.fixture
def keys(tmp_path: Path) -> FileKeys:
    """Those of the home in which `world` runs."""
    return FileKeys(tmp_path / "secrets" / "encryption_keys")


@pytest.fixture
def rotate(services: Any, tmp_path: Path) -> Any:
    """Runs the command in a process of its own; what it prints, but for secrets of other tests."""

    async def run(environment: Mapping[str, str] | None = None) -> Any:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        own = {"PENSTOCK_HOME": str(tmp_path), "DATABASE_URL": services.database_url, **(environment or {})}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "serve_app.cli", "keys", "rotate", "--json"),
            env={**inherited, **own},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        return orjson.loads(output)

    return run


async def key_ids(world: Any) -> set[str]:
    rows = await world.databases.control.fetch(
        "SELECT sealed FROM provider_credentials WHERE tenant_id = $1", world.principals["admin"].tenant_id
    )
    return {key_id_of(row["sealed"]) for row in rows}


async def test_a_new_key_is_made_and_every_secret_brought_under_it(world: Any, keys: FileKeys, rotate: Any) -> None:
    for provider in ("openai", "groq"):
        await world.add(provider)
    [old] = await key_ids(world)
    done = await rotate()
    assert done == {"key": keys.current().id, "added": True, "rewrapped": 2, "failed": []}
    assert await key_ids(world) == {keys.current().id} != {old}
    assert await world.stored_key() == GOOD, "a process that ran before sees the new key"
    await world.add("anthropic")
    assert await key_ids(world) == {keys.current().id}


async def test_an_interrupted_rotation_is_finished_with_the_key_that_it_made(
    world: Any, keys: FileKeys, rotate: Any
) -> None:
    await world.add()
    made = keys.add()
    assert await rotate() == {"key": made.id, "added": False, "rewrapped": 1, "failed": []}
    assert await key_ids(world) == {made.id}


async def test_keys_of_the_environment_are_taken_as_they_are(world: Any, keys: FileKeys, rotate: Any) -> None:
    await world.add()
    new = EncryptionKey(b"n" * 32)
    setting = ",".join(b64encode(key.secret).decode() for key in (new, keys.current()))
    done = await rotate({"PENSTOCK_ENCRYPTION__KEYS": setting})
    assert done == {"key": new.id, "added": False, "rewrapped": 1, "failed": []}
    assert await key_ids(world) == {new.id}
