import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kit.errors import AuthenticationError, UnavailableError
from kit.ids import uuid7
from kit.postgres import Databases
from serve_app.auth import service as auth
from serve_app.auth.keys import NewKey, generate
from serve_app.auth.repository import KeyRepository
from serve_app.auth.schemas import Principal
from serve_app.auth.service import AuthService


class Keys:
    """A control database in memory, with a switch."""

    def __init__(self) -> None:
        self.valid: dict[bytes, Principal] = {}
        self.lookups = 0
        self.lost = False

    def add(self, **fields: Any) -> NewKey:
        key = generate()
        self.valid[key.hash] = Principal(uuid7(), uuid7(), "default", uuid7(), "admin", **fields)
        return key

    async def find(self, hashes: Sequence[bytes]) -> dict[bytes, Principal]:
        self.lookups += 1
        await asyncio.sleep(0)
        if self.lost:
            raise UnavailableError("lost")
        return {digest: self.valid[digest] for digest in hashes if digest in self.valid}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(keys: Keys, clock: Clock) -> AuthService:
    return AuthService(keys, clock=clock)


async def test_a_key_is_looked_up_once_and_then_known(keys: Keys, service: AuthService) -> None:
    key = keys.add()
    callers = await asyncio.gather(*(service.authenticate(key.plaintext) for _ in range(20)))
    assert set(callers) == {keys.valid[key.hash]}
    assert keys.lookups == 1


async def test_an_unknown_key_is_remembered_for_a_moment_only(keys: Keys, service: AuthService, clock: Clock) -> None:
    key = generate()
    for _ in range(3):
        with pytest.raises(AuthenticationError):
            await service.authenticate(key.plaintext)
    assert keys.lookups == 1
    keys.valid[key.hash] = keys.valid[keys.add().hash]
    clock.now += auth.MAX_AGE + 0.1
    assert await service.authenticate(key.plaintext)


async def test_a_mistyped_key_never_reaches_the_database(keys: Keys, service: AuthService) -> None:
    for wrong in ("", "x", generate().plaintext[:-1], generate().plaintext + "a", "pst_" + "é" * 49):
        with pytest.raises(AuthenticationError):
            await service.authenticate(wrong)
    assert keys.lookups == 0


async def test_a_revoked_key_stops_within_five_seconds_without_any_refresh(
    keys: Keys, service: AuthService, clock: Clock
) -> None:
    key = keys.add()
    await service.authenticate(key.plaintext)
    keys.valid.clear()
    clock.now += 5
    with pytest.raises(AuthenticationError):
        await service.authenticate(key.plaintext)


async def test_keys_in_use_are_refreshed_so_that_requests_do_not_wait(
    keys: Keys, service: AuthService, clock: Clock
) -> None:
    key = keys.add()
    await service.authenticate(key.plaintext)
    for _ in range(10):
        clock.now += auth.REFRESH_EVERY
        await service.refresh()
        lookups = keys.lookups
        await service.authenticate(key.plaintext)
        assert keys.lookups == lookups
    keys.valid.clear()
    await service.refresh()
    with pytest.raises(AuthenticationError):
        await service.authenticate(key.plaintext)


async def test_a_key_that_nobody_uses_is_forgotten(keys: Keys, service: AuthService, clock: Clock) -> None:
    await service.authenticate(keys.add().plaintext)
    clock.now += auth.IDLE + 1
    await service.refresh()
    assert keys.lookups == 1


async def test_known_keys_go_on_for_a_while_without_the_database(
    keys: Keys, service: AuthService, clock: Clock
) -> None:
    key, stranger = keys.add(), keys.add()
    await service.authenticate(key.plaintext)
    keys.lost = True
    clock.now += auth.GRACE - 1
    assert await service.authenticate(key.plaintext)
    with pytest.raises(UnavailableError):
        await service.authenticate(stranger.plaintext)
    clock.now += 2
    with pytest.raises(UnavailableError):
        await service.authenticate(key.plaintext)


async def test_a_key_expires_while_it_is_remembered(keys: Keys, service: AuthService) -> None:
    key = keys.add(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(AuthenticationError, match="expired"):
        await service.authenticate(key.plaintext)


async def test_the_snapshot_is_bounded(keys: Keys, service: AuthService, monkeypatch: Any) -> None:
    monkeypatch.setattr(auth, "MAX_UNKNOWN", 5)
    good = keys.add()
    await service.authenticate(good.plaintext)
    for _ in range(20):
        with pytest.raises(AuthenticationError):
            await service.authenticate(generate().plaintext)
    lookups = keys.lookups
    await service.authenticate(good.plaintext)
    assert keys.lookups == lookups


async def test_keys_are_found_in_the_control_database_until_they_are_revoked(services: Any) -> None:
    databases = Databases(services.database_url, 4)
    try:
        repository, control = KeyRepository(databases), databases.control
        digest = (key := generate()).hash
        await control.execute(
            "INSERT INTO api_keys (id, tenant_id, user_id, name, prefix, key_hash)"
            " SELECT $1, tenant_id, id, 'test', $2, $3 FROM users LIMIT 1",
            *(uuid7(), key.prefix, digest),
        )
        found = await repository.find([digest, generate().hash])
        assert list(found) == [digest]
        assert (found[digest].tenant, found[digest].role) == ("default", "admin")
        await control.execute("UPDATE api_keys SET expires_at = now() WHERE key_hash = $1", digest)
        assert await repository.find([digest]) == {}
        await control.execute("UPDATE api_keys SET expires_at = NULL, revoked_at = now() WHERE key_hash = $1", digest)
        assert await repository.find([digest]) == {}
    finally:
        await databases.close()
