"""Ray's Jobs API as `penstock ingest` speaks it, against a small server that answers as Ray's does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kit.errors import SetupError, UnavailableError
from serve_app import jobs as module
from serve_app.jobs import Jobs
from tests.cluster.process import free_port

TOKEN = "the-token"


@dataclass
class Ray:
    """One job. Each poll moves on by one state: (status, what the log holds by then)."""

    states: list[tuple[str, str]]
    message: str | None = None
    submitted: list[dict[str, object]] = field(default_factory=list)
    stopped: bool = False
    _at: int = -1

    @property
    def now(self) -> tuple[str, str]:
        return self.states[min(max(self._at, 0), len(self.states) - 1)]

    async def submit(self, request: web.Request) -> web.Response:
        self.submitted.append(await request.json())
        return web.json_response({"submission_id": "raysubmit_1", "job_id": "raysubmit_1"})

    async def status(self, request: web.Request) -> web.Response:
        self._at += 1
        return web.json_response({"status": self.now[0], "message": self.message})

    async def logs(self, request: web.Request) -> web.Response:
        return web.json_response({"logs": self.now[1]})

    async def stop(self, request: web.Request) -> web.Response:
        self.stopped = True
        return web.json_response({"stopped": True})


@web.middleware
async def authenticated(request: web.Request, handler: object) -> web.StreamResponse:
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return web.Response(status=401, text="Unauthorized")
    return await handler(request)  # type: ignore[operator, no-any-return]


@asynccontextmanager
async def connected(ray: Ray, token: str = TOKEN) -> AsyncIterator[Jobs]:
    app = web.Application(middlewares=[authenticated])
    app.add_routes(
        [
            web.post("/api/jobs/", ray.submit),
            web.get("/api/jobs/raysubmit_1", ray.status),
            web.get("/api/jobs/raysubmit_1/logs", ray.logs),
            web.post("/api/jobs/raysubmit_1/stop", ray.stop),
        ]
    )
    async with TestServer(app) as server, Jobs(str(server.make_url("/")), token) as jobs:
        yield jobs


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)


async def follow(ray: Ray) -> list[dict[str, object]]:
    async with connected(ray) as jobs:
        return [event async for event in jobs.events("raysubmit_1")]


async def test_a_program_is_submitted_as_one_shell_line_with_its_words_kept() -> None:
    ray = Ray([])
    async with connected(ray) as jobs:
        assert await jobs.submit(["python", "-m", "x", "a file; rm -rf $HOME"]) == "raysubmit_1"
    assert ray.submitted == [{"entrypoint": "python -m x 'a file; rm -rf $HOME'", "entrypoint_num_cpus": 0}]


async def test_each_event_comes_once_and_only_when_its_line_is_whole() -> None:
    one, two, end = '{"event": "progress", "done": 1}', '{"event": "progress", "done": 2}', '{"event": "summary"}'
    states = [
        ("PENDING", ""),
        ("RUNNING", one[:10]),
        ("RUNNING", f"{one}\n{two[:20]}"),
        ("RUNNING", f"{one}\n{two}\n"),
        ("RUNNING", f"{one}\n{two}\n"),
        ("SUCCEEDED", f"{one}\n{two}\n{end}\n"),
    ]
    events = await follow(Ray(states))
    assert [event.get("done") for event in events] == [1, 2, None]


async def test_what_is_no_event_is_passed_over() -> None:
    log = 'Hello\n\n\n{"no": "event"}\n[1]\n3\n{"event": "summary", "word": "ä–"}\nbye\n'
    assert await follow(Ray([("SUCCEEDED", log)])) == [{"event": "summary", "word": "ä–"}]


async def test_the_last_line_needs_no_newline() -> None:
    assert await follow(Ray([("SUCCEEDED", 'x\n{"event": "summary"}')])) == [{"event": "summary"}]


async def test_a_job_that_dies_without_a_word_is_explained_by_its_log() -> None:
    (event,) = await follow(Ray([("RUNNING", ""), ("FAILED", "Traceback\nMemoryError\n")], message="exit code 137"))
    assert event["event"] == "error"
    assert "exit code 137" in str(event["message"])
    assert "MemoryError" in str(event["message"])


@pytest.mark.parametrize("line", ['{"event": "error", "message": "no model"}', '{"event": "summary", "failed": 1}'])
async def test_a_job_that_explains_itself_is_not_explained_twice(line: str) -> None:
    assert len(await follow(Ray([("FAILED", line + "\n")]))) == 1


async def test_a_stopped_job_ends_the_events() -> None:
    (event,) = await follow(Ray([("STOPPED", "")]))
    assert event["event"] == "error"


async def test_a_job_can_be_stopped() -> None:
    ray = Ray([])
    async with connected(ray) as jobs:
        await jobs.stop("raysubmit_1")
    assert ray.stopped


async def test_a_wrong_token_and_an_unknown_job_are_told() -> None:
    async with connected(Ray([]), token="another") as jobs:
        with pytest.raises(UnavailableError, match="401"):
            await jobs.stop("raysubmit_1")
    async with connected(Ray([])) as jobs:
        with pytest.raises(SetupError, match="raysubmit_2"):
            await jobs.stop("raysubmit_2")


async def test_a_cluster_that_does_not_run_is_a_remedy() -> None:
    async with Jobs(f"http://127.0.0.1:{free_port()}", TOKEN) as jobs:
        with pytest.raises(SetupError, match="penstock up"):
            await jobs.submit(["true"])
