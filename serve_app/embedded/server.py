"""What the embedded servers have in common: a home, a port, a data folder that nobody else may work in."""

import asyncio
from collections.abc import Collection
from pathlib import Path

from kit.processes import find_by_folder, stop
from kit.supervisor import Service
from serve_app.embedded.home import Home

LEFTOVER_SECONDS = 3.0


class EmbeddedServer(Service):
    """A server of one home. Set `port` before it starts."""

    port: int = 0
    programs: Collection[str]
    """Names of the executables that work in its folder."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.account = home.account

    async def prepare(self) -> None:
        """End what is left of an earlier server on this data folder: the parts of a killed one, an orphan."""
        await self.stop_all_in(self.folder())

    async def stop_all_in(self, folder: Path) -> None:
        """End all of its programs that work in this folder; takes some seconds at most."""
        left = find_by_folder(folder, self.programs)
        if left:
            await asyncio.to_thread(stop, left, LEFTOVER_SECONDS, stop_signal=self.stop_signal)
