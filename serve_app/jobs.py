"""Ray jobs over Ray's Jobs API: submit, follow, stop. Spoken as plain HTTP, so that no caller has to import Ray."""

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import orjson

from kit.errors import SetupError, UnavailableError

FINISHED = {"SUCCEEDED", "FAILED", "STOPPED"}
POLL_SECONDS = 0.25


class Jobs:
    """The jobs of one cluster. Use as `async with`."""

    def __init__(self, dashboard: str, token: str) -> None:
        """dashboard: URL of Ray's dashboard. token: the cluster's."""
        self._dashboard = dashboard
        self._headers = {"Authorization": f"Bearer {token}"}

    async def __aenter__(self) -> "Jobs":
        self._session = aiohttp.ClientSession(self._dashboard, headers=self._headers)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def submit(self, entrypoint: Sequence[str]) -> str:
        """Start a program on the cluster; its id."""
        job = {"entrypoint": shlex.join(entrypoint), "entrypoint_num_cpus": 0}
        submitted = await self._ask("POST", "/api/jobs/", json=job)
        return str(submitted["submission_id"])

    async def events(self, job: str) -> AsyncIterator[dict[str, Any]]:
        """The JSON lines that a job prints, as it prints them. Ends with the job.

        A job that fails without an explanation of its own yields {"event": "error", "message": ...} at the end.
        """
        seen, explained = 0, False
        while True:
            state = await self._ask("GET", f"/api/jobs/{job}")
            logs = (await self._ask("GET", f"/api/jobs/{job}/logs"))["logs"]
            ended = state["status"] in FINISHED
            complete = logs[seen:] if ended else logs[seen:].rpartition("\n")[0]
            seen += len(complete) + 1 if complete else 0
            for line in complete.splitlines():
                with contextlib.suppress(orjson.JSONDecodeError):
                    event = orjson.loads(line)
                    if isinstance(event, dict) and "event" in event:
                        explained |= event["event"] in ("summary", "error")
                        yield event
            if ended:
                if state["status"] != "SUCCEEDED" and not explained:
                    yield {"event": "error", "message": f"{state.get('message') or state['status']}\n{logs[-2000:]}"}
                return
            await asyncio.sleep(POLL_SECONDS)

    async def stop(self, job: str) -> None:
        """Ask a job to end."""
        await self._ask("POST", f"/api/jobs/{job}/stop")

    async def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            async with self._session.request(method, path, **options) as response:
                if response.status == 404:
                    raise SetupError(f"Ray does not know {path}.")
                if response.status >= 400:
                    raise UnavailableError(f"Ray's Jobs API answered {response.status}: {await response.text()}")
                return await response.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or "timeout"
            raise SetupError(f"Ray's Jobs API does not answer: {reason}.", "Start the platform: penstock up") from error
