"""What one replica finds out about providers, the others know within a fraction of a second.

One script tells and reads everything in one round trip. It runs in the background, at once after a failure and else
every 200 ms; no call waits for it. The only call that asks Redis itself is one that wants to try a half-open provider,
since trials are bounded over all replicas. While Redis is lost, each replica goes by what it sees.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import structlog
from redis.asyncio import Redis

from deployments.provider_caller.resilience.breaker import Record, Report
from deployments.provider_caller.resilience.config import BreakerConfig
from deployments.provider_caller.resilience.gate import Gate, GateKey, Gates, note_transition
from deployments.provider_caller.resilience.pauses import Pause, PauseKey, Pauses
from deployments.provider_caller.resilience.redis_guard import RedisGuard

BREAKERS = "penstock:provider:breakers"
PAUSES = "penstock:provider:pauses"

_FORGET_SECONDS = 600
_BUCKETS = 12
_FOLDER = Path(__file__).parent

_log = structlog.get_logger("penstock.resilience")


class Sharing:
    """Between this replica's gates and pauses and those of the others."""

    def __init__(
        self,
        config: BreakerConfig,
        redis: Redis,
        guard: RedisGuard,
        gates: Gates,
        pauses: Pauses,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._guard = guard
        self._gates = gates
        self._pauses = pauses
        self._clock = clock
        self._share = redis.register_script((_FOLDER / "sharing.lua").read_text("utf-8"))
        self._trial = redis.register_script((_FOLDER / "trial.lua").read_text("utf-8"))
        self._news = asyncio.Event()

    def wake(self) -> None:
        """There is something that the others should know at once."""
        self._news.set()

    async def run(self) -> None:
        """Tell and read for ever."""
        while True:
            try:
                async with asyncio.timeout(self._config.share_every):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            await self.sync()

    async def sync(self) -> None:
        """Tell and read once. Raises nothing when Redis is lost."""
        now = self._clock()
        reports = {key: report for key, gate in self._gates.items() if (report := gate.breaker.report(now))}
        untold = self._pauses.take_untold()
        answer: Any = None
        try:
            answer = await self._guard.call(lambda: self._exchange(reports, untold, now))
        finally:
            if answer is None:
                for key, report in reports.items():
                    self._gates[key].breaker.not_told(report)
                self._pauses.not_told(untold)
        if answer is not None:
            self._adopt(orjson.loads(answer))

    async def try_trial(self, key: GateKey) -> bool:
        """Whether a call of this replica may try a half-open provider now. Yes while Redis is lost."""
        arguments: list[Any] = [_name(*key), self._config.trial_calls, int(self._config.trial_seconds * 1000)]
        granted = await self._guard.call(lambda: self._trial(keys=[BREAKERS], args=arguments))
        return granted != 0

    async def _exchange(self, reports: dict[GateKey, Report], pauses: dict[PauseKey, Pause], now: float) -> Any:
        told = {
            "reports": {_name(*key): _report(report) for key, report in reports.items()},
            "pauses": {
                ":".join(key): {"wait": (pause.until - now) * 1000, "reason": pause.reason}
                for key, pause in pauses.items()
            },
        }
        window = self._config.window * 1000
        arguments: list[Any] = [orjson.dumps(told), window, window / _BUCKETS, _FORGET_SECONDS * 1000]
        return await self._share(keys=[BREAKERS, PAUSES], args=arguments)

    def _adopt(self, answer: dict[str, Any]) -> None:
        now = self._clock()
        records = {_key(name): _record(stated) for name, stated in answer["records"].items()}
        for key in self._gates.keys() | records.keys():
            self._adopt_record(self._gates[key], records.get(key), now)
        self._pauses.adopt(
            {
                _pause_key(name): Pause(now + stated["wait"] / 1000, stated["reason"])
                for name, stated in answer["pauses"].items()
            }
        )

    def _adopt_record(self, gate: Gate, record: Record | None, now: float) -> None:
        if not gate.breaker.adopt(record, now):
            return
        state = gate.breaker.state(now)
        if gate.breaker.decided:
            # This replica's failures and the others' together are too many.
            note_transition(gate.key, state)
            self.wake()
        else:
            _log.info("breaker follows the other replicas", provider=gate.key[0], owner=gate.key[1], to=state)


def _name(provider: str, owner: str) -> str:
    return f"{owner}:{provider}"


def _key(name: str) -> GateKey:
    owner, provider = name.split(":", 1)
    return provider, owner


def _pause_key(name: str) -> PauseKey:
    owner, provider, model = name.split(":", 2)
    return owner, provider, model


def _report(report: Report) -> dict[str, Any]:
    return {
        "counts": [(age * 1000, good, bad) for age, good, bad in report.counts],
        "run": report.run,
        "fresh": report.fresh,
        "open": report.open,
        "command": report.command,
        "wait": report.wait * 1000,
        "trips": report.trips,
        "ended": report.ended,
    }


def _record(stated: dict[str, Any]) -> Record:
    return Record(
        counts=tuple((age / 1000, good, bad) for age, good, bad in stated["counts"]),
        run=stated["run"],
        open=stated["open"],
        wait=stated["wait"] / 1000,
        trips=stated["trips"],
        age=stated["age"] / 1000,
    )
