import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest
import redis.asyncio

from deployments.settings import Settings
from kit.errors import SetupError
from kit.processes import ProcessIdentity
from kit.supervisor import Supervisor
from serve_app.embedded import binaries
from serve_app.embedded.home import open_home, reachable
from serve_app.embedded.ports import port_for
from serve_app.embedded.services import ServiceUrls, read_service_urls, start_services

BOTH_USERS = pytest.mark.parametrize("platform", [False, True], indirect=True, ids=["this user", "a plain user"])


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


@BOTH_USERS
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


@BOTH_USERS
async def test_everything_is_private_and_on_loopback_and_nobody_gets_in_without_a_password(platform):
    urls = platform.start()
    for path in platform.home.rglob("*"):
        owner_only = stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0
        assert owner_only or path == platform.home / "bin", path
    assert stat.S_IMODE(platform.home.stat().st_mode) == 0o700
    secrets = [urlsplit(url).password for url in addresses(urls).values()]
    for name in ("postgres", "redis"):
        server = psutil.Process(urls[name])
        assert server.uids().effective != 0
        listening = [one for one in server.net_connections() if one.status == "LISTEN"]
        assert {one.laddr.ip for one in listening} == {"127.0.0.1"}
        assert not any(secret in argument for argument in server.cmdline() for secret in secrets)
        log = (platform.home / "logs" / f"{name}.log").read_text()
        assert not any(secret in log for secret in secrets)

    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(maintenance(urls).replace(urlsplit(urls["DATABASE_URL"]).password, "guess"))
    parts = urlsplit(urls["REDIS_URL"])
    async with redis.asyncio.Redis(host=parts.hostname, port=parts.port) as client:
        with pytest.raises(redis.exceptions.AuthenticationError):
            await client.get("kept")


@pytest.fixture
def home(tmp_path_factory):
    folder = Path(tempfile.mkdtemp(prefix="pst-"))
    yield open_home(folder)
    shutil.rmtree(folder)


async def test_servers_of_ones_own_are_used_and_none_is_started(home, services):
    settings = Settings(home=home.path, database={"url": services.database_url}, redis={"url": services.redis_url})
    with home.lock():
        async with Supervisor(home.run, home.logs, marker=home.marker) as supervisor:
            urls = await start_services(settings, supervisor, home)
            assert supervisor.identity("postgres") is None
        assert urls == ServiceUrls(services.database_url, services.redis_url)
        assert read_service_urls(home) == urls
    assert urlsplit(urls.database_url).password not in repr(urls)
    with pytest.raises(SetupError, match="penstock up"):
        read_service_urls(home)


@pytest.mark.parametrize("name", ["database", "redis"])
async def test_a_server_of_ones_own_that_does_not_answer_is_named_without_its_password(home, name):
    scheme = {"database": "postgresql", "redis": "redis"}[name]
    settings = Settings(
        home=home.path,
        **{"database": {"url": "postgresql://x@127.0.0.1:1"}, name: {"url": f"{scheme}://u:secret@127.0.0.1:1/x"}},
    )
    async with Supervisor(home.run, home.logs, marker=home.marker) as supervisor:
        with pytest.raises(SetupError, match=r"127\.0\.0\.1:1") as caught:
            await start_services(settings, supervisor, home)
    assert "secret" not in caught.value.message


def test_missing_programs_are_named_with_the_remedy(home, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for find, variable in ((binaries.postgres_folder, "DATABASE_URL"), (binaries.redis_server, "REDIS_URL")):
        with pytest.raises(SetupError, match=r"penstock\[embedded\]") as caught:
            find(home)
        assert variable in caught.value.message


def test_programs_that_the_servers_user_cannot_reach_are_copied_once_into_the_home(home, monkeypatch):
    monkeypatch.setattr(binaries, "_usable", lambda home, program: False)
    folder = binaries.postgres_folder(home)
    assert folder.is_relative_to(home.bin)
    copied = (folder / "bin" / "postgres").stat().st_ino
    programs = [folder / "bin" / "postgres", folder / "bin" / "initdb", binaries.redis_server(home)]
    for program in programs:
        assert subprocess.run([program, "--version"], check=True, capture_output=True).stdout
        assert home.account is None or reachable(program, home.account)
    assert (binaries.postgres_folder(home) / "bin" / "postgres").stat().st_ino == copied


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user's servers run as that user")
def test_a_home_that_the_servers_user_cannot_enter_is_refused_and_its_parents_stay_closed(tmp_path):
    parent = tmp_path / "closed"
    parent.mkdir(mode=0o700)
    with pytest.raises(SetupError, match="cannot enter"):
        open_home(parent / "home")
    assert stat.S_IMODE(parent.stat().st_mode) == 0o700


async def test_a_port_that_a_stranger_took_meanwhile_is_replaced(home):
    port = port_for(home, "postgres")
    assert port_for(home, "postgres") == port
    with socket.create_server(("127.0.0.1", port)):
        other = port_for(home, "postgres")
    assert other != port
    assert port_for(home, "postgres") == other
