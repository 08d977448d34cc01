"""Runs the services of a home until SIGTERM; prints a line of JSON when they are up and one for each event after."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from deployments.settings import Settings
from kit.errors import SetupError
from kit.supervisor import Supervisor
from serve_app.embedded.home import open_home
from serve_app.embedded.services import start_services, stop_leftovers


def say(value):
    print(json.dumps(value), flush=True)


async def main():
    leave = asyncio.Event()
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, leave.set)
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    home = open_home(Path(sys.argv[1]))
    up = False

    def on_event(event):
        if up or "VERBOSE" in os.environ:
            say([event.kind, event.service])

    with home.lock():
        await stop_leftovers(home)
        async with Supervisor(home.run, home.logs, marker=home.marker, on_event=on_event) as supervisor:
            urls = await start_services(Settings(home=home.path), supervisor, home)
            pids = {name: supervisor.identity(name).pid for name in ("postgres", "redis")}
            say({**urls.environment(), **pids})
            up = True
            await leave.wait()


try:
    asyncio.run(main())
except SetupError as error:
    sys.exit(error.message)
except asyncio.CancelledError:
    sys.exit(130)
