import asyncio
import json
import os
import signal
import sys

import pytest

from kit.errors import SetupError
from kit.processes import ProcessIdentity, find_by_marker, spawn
from kit.supervisor import Service, StartError, Supervisor, recorded, stop_recorded

MARKER = ("PENSTOCK_TEST_RUN", "supervisor")


class Program(Service):
    """A Python program that is ready once it has created its file."""

    def __init__(self, name, folder, code="time.sleep(60)"):
        self.name = name
        self.file = folder / f"{name}.ready"
        self.code = code
        self.prepared = 0

    def argv(self):
        code = f"import pathlib, sys, time; pathlib.Path({str(self.file)!r}).touch(); {self.code}"
        return [sys.executable, "-c", code]

    async def prepare(self):
        self.prepared += 1
        self.file.unlink(missing_ok=True)

    async def ready(self):
        return self.file.exists()


@pytest.fixture
def events():
    return []


@pytest.fixture
async def supervisor(tmp_path, events):
    async with Supervisor(tmp_path, tmp_path, marker=MARKER, on_event=events.append) as supervisor:
        yield supervisor


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


def kinds(events):
    return [(event.kind, event.service) for event in events]


async def test_services_start_in_order_and_stop_in_reverse(supervisor, events, tmp_path):
    await supervisor.start(Program("first", tmp_path))
    await supervisor.start(Program("second", tmp_path))
    identities = [record.process for record in recorded(tmp_path)]
    assert len(identities) == 2
    await supervisor.stop()
    assert kinds(events) == [
        ("starting", "first"),
        ("ready", "first"),
        ("starting", "second"),
        ("ready", "second"),
        ("stopped", "second"),
        ("stopped", "first"),
    ]
    assert not any(identity.alive() for identity in identities)
    assert recorded(tmp_path) == []


async def test_a_service_that_dies_is_prepared_and_started_again(supervisor, events, tmp_path):
    program = Program("server", tmp_path)
    await supervisor.start(program)
    first = supervisor.identity("server")
    first.send(signal.SIGKILL)
    await until(lambda: ("restarted", "server") in kinds(events))
    second = supervisor.identity("server")
    assert second.alive()
    assert second != first
    assert program.prepared == 2
    assert json.loads((tmp_path / "server.json").read_text())["pid"] == second.pid


async def test_a_service_that_keeps_dying_is_tried_again_and_still_stops_at_once(supervisor, events, tmp_path):
    program = Program("server", tmp_path)
    await supervisor.start(program)
    program.code = "sys.exit('broken now')"
    program.ready = lambda: asyncio.sleep(0, False)
    supervisor.identity("server").send(signal.SIGKILL)
    await until(lambda: kinds(events).count(("died", "server")) >= 3)
    assert "broken now" in events[-1].detail or "broken now" in events[-2].detail
    await supervisor.stop()
    assert recorded(tmp_path) == []


async def test_a_crash_at_the_start_is_reported_with_the_lines_of_this_start_only(supervisor, tmp_path):
    (tmp_path / "server.log").write_text("from an earlier run\n")
    program = Program("server", tmp_path, code="sys.exit('port 1 is in use')")
    program.ready = lambda: asyncio.sleep(0, False)
    with pytest.raises(StartError, match="status 1") as caught:
        await supervisor.start(program)
    assert "port 1 is in use" in caught.value.message
    assert "earlier run" not in caught.value.message
    assert recorded(tmp_path) == []


async def test_a_missing_program_is_reported(supervisor, tmp_path):
    program = Program("server", tmp_path)
    program.argv = lambda: ["/nowhere/server"]
    with pytest.raises(SetupError, match="Cannot start /nowhere/server"):
        await supervisor.start(program)


async def test_a_start_that_is_cancelled_leaves_nothing_after_stop(supervisor, tmp_path):
    program = Program("slow", tmp_path)
    program.ready = lambda: asyncio.sleep(0, False)
    start = asyncio.create_task(supervisor.start(program))
    await until(lambda: recorded(tmp_path))
    identity = recorded(tmp_path)[0].process
    start.cancel()
    await asyncio.wait([start])
    await supervisor.stop()
    assert not identity.alive()


async def test_what_a_killed_supervisor_recorded_is_stopped_by_the_next_one(tmp_path):
    orphan = spawn(["/bin/sleep", "60"], env={}, cwd=tmp_path, log=tmp_path / "log")
    identity = ProcessIdentity.of(orphan.pid)
    entry = {"pid": identity.pid, "started": identity.started, "stop_signal": int(signal.SIGTERM)}
    (tmp_path / "orphan.json").write_text(json.dumps(entry))
    (tmp_path / "stranger.json").write_text(json.dumps({**entry, "pid": os.getpid()}))
    (tmp_path / "services.json").write_text('{"database_url": "not a record"}')
    stopped = await asyncio.to_thread(stop_recorded, tmp_path, 5.0)
    assert stopped == ["orphan"]
    assert not identity.alive()
    orphan.wait()


async def test_services_carry_the_mark_of_their_supervisor(supervisor, tmp_path):
    await supervisor.start(Program("server", tmp_path))
    assert find_by_marker(*MARKER) == [supervisor.identity("server")]
