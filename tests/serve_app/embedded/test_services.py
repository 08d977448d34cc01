import json
import os
import signal
import stat
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest
import redis.asyncio

from kit.processes import ProcessIdentity
from serve_app.embedded.home import open_home


def maintenance(urls):
    return urls["DATABASE_URL"].rpartition("/")[0] + "/postgres"


async def write(urls):
    connection = await asyncpg.connect(maintenance(urls))
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await connection.close()
    async with redis.asyncio.from_url(urls["REDIS_URL"]) as client:
        await client.set("kept", "42")


async def check(urls):
    connection = await asyncpg.connect(maintenance(urls))
    assert await connection.fetchval("SELECT answer FROM kept") == 42
    await connection.close()
    async with redis.asyncio.from_url(urls["REDIS_URL"]) as client:
        assert await client.get("kept") == b"42"


def addresses(urls):
    return {key: value for key, value in urls.items() if key.endswith("_URL")}


async def test_data_and_addresses_survive_the_death_of_each_server_and_of_everything(platform):
    urls = platform.start()
    await write(urls)

    os.kill(urls["postgres"], signal.SIGKILL)
    platform.events_until("restarted", "postgres")
    await check(urls)
    os.kill(urls["redis"], signal.SIGKILL)
    platform.events_until("restarted", "redis")
    await check(urls)

    platform.end(signal.SIGKILL)  # the supervisor: its servers die with it
    platform.gone()
    urls_again = platform.start()
    assert addresses(urls_again) == addresses(urls)
    await check(urls_again)

    everything = [ProcessIdentity.of(platform.process.pid), *platform.living]
    for process in everything:
        process.send(signal.SIGKILL)
    platform.process.communicate()
    assert len(everything) >= 3
    urls_again = platform.start()
    assert addresses(urls_again) == addresses(urls)
    await check(urls_again)

    platform.end(signal.SIGTERM)
    assert platform.living == []
    assert list((platform.home / "run").glob("postgres*")) == []


async def test_orphans_that_outlived_their_supervisor_are_ended_by_the_next_one(platform):
    urls = platform.start()
    await write(urls)
    orphans = [ProcessIdentity.of(urls[name]) for name in ("postgres", "redis")]
    for orphan in orphans:
        orphan.send(signal.SIGSTOP)  # stopped programs do not act on the signal that their parent's death sends
    platform.end(signal.SIGKILL)
    assert all(orphan.alive() for orphan in orphans)
    urls_again = platform.start()
    assert not any(orphan.alive() for orphan in orphans)
    assert addresses(urls_again) == addresses(urls)
    await check(urls_again)


def test_ctrl_c_at_any_moment_of_the_first_start_leaves_no_process_and_a_home_that_starts(platform):
    for service in ("postgres", "redis"):
        platform.launch(VERBOSE="1")
        while json.loads(platform.process.stdout.readline()) != ["starting", service]:
            pass
        platform.end(signal.SIGINT)
        assert platform.living == []
    assert platform.start()["postgres"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_half_made_data_folder_is_made_again(platform, number):
    platform.launch()
    while not list((platform.home / "postgres").glob("new-*/data/base")):
        assert platform.process.poll() is None
    platform.end(number)
    platform.gone()
    assert not (platform.home / "postgres" / "data").exists()
    assert platform.start()["postgres"]
    assert list((platform.home / "postgres").glob("new-*")) == []


def test_a_locked_home_says_who_holds_it(platform):
    platform.start()
    first = platform.process
    message = platform.launch().communicate()[1]
    assert f"in use by process {first.pid}" in message
    assert "penstock down" in message
    platform.process = first


def test_everything_is_private_and_on_loopback_and_no_password_is_shown(platform):
    urls = platform.start()
    for path in platform.home.rglob("*"):
        owner_only = stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0
        assert owner_only or path == platform.home / "bin", path
    assert stat.S_IMODE(platform.home.stat().st_mode) == 0o700
    secrets = [urlsplit(url).password for url in addresses(urls).values()]
    for name in ("postgres", "redis"):
        server = psutil.Process(urls[name])
        assert server.uids().effective != 0
        listening = [socket for socket in server.net_connections() if socket.status == "LISTEN"]
        assert {socket.laddr.ip for socket in listening} == {"127.0.0.1"}
        assert not any(secret in argument for argument in server.cmdline() for secret in secrets)
        log = (platform.home / "logs" / f"{name}.log").read_text()
        assert not any(secret in log for secret in secrets)


async def test_nobody_gets_in_without_the_password(platform):
    urls = platform.start()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(maintenance(urls).replace(urlsplit(urls["DATABASE_URL"]).password, "guess"))
    parts = urlsplit(urls["REDIS_URL"])
    async with redis.asyncio.Redis(host=parts.hostname, port=parts.port) as client:
        with pytest.raises(redis.exceptions.AuthenticationError):
            await client.get("kept")


@pytest.fixture
def home(tmp_path_factory):
    return open_home(tmp_path_factory.mktemp("home"))
