"""What the embedded servers have in common: a home, a port, a data folder that nobody else may work in."""

import asyncio
import signal
from pathlib import Path

from kit.processes import find_by_folder, stop
from kit.supervisor import Service
from serve_app.embedded.home import Home

LEFTOVER_SECONDS = 3.0


class EmbeddedServer(Service):
    """A server of one home. Set `port` before it starts."""

    port: int = 0

    def __init__(self, home: Home) -> None:
        self.home = home
        self.account = home.account

    async def prepare(self) -> None:
        """End what is left of an earlier server on this data folder: the parts of a killed one, an orphan."""
        await asyncio.to_thread(stop_all_in, self.folder(), self.stop_signal)


def stop_all_in(folder: Path, stop_signal: int = signal.SIGTERM) -> None:
    """End every process that works in this folder. Blocks, for some seconds at most."""
    stop(find_by_folder(folder), LEFTOVER_SECONDS, stop_signal=stop_signal)
