"""A circuit breaker: leaves a provider alone that fails, and lets a few calls try it after a while.

One breaker is one replica's view. What it has seen itself is told to the other replicas by `sharing`, and what they
have seen comes back as a `Record`; the rules stand here only. Without Redis the view is this replica's own.

    closed ── failures ──> open ── time ──> half-open ── a trial succeeds ──> closed
                             ^─────────────── a trial fails, twice the time ──┘

Nothing is to be told while no call fails: successes are counted here, and told only to a record that has failures.
"""

from dataclasses import dataclass
from typing import Literal

from deployments.provider_caller.resilience.config import BreakerConfig
from deployments.provider_caller.resilience.counts import SlidingCounts

State = Literal["closed", "open", "half_open"]
Command = Literal["open", "close"]

_A_MOMENT = 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """What one replica has to tell. counts: (age in seconds, successes, failures). run: failures since the last
    success; `fresh`: such a success was among them, and a moment ago. open: the state, for a Redis that has forgotten
    it. wait: seconds an open breaker stays so. ended: trials that are over."""

    counts: tuple[tuple[float, int, int], ...]
    run: int
    fresh: bool
    open: bool
    command: Command | None
    wait: float
    trips: int
    ended: int


@dataclass(frozen=True, slots=True)
class Record:
    """What all replicas have told. wait: seconds until an open breaker lets a call try, negative: for how long it has.
    age: seconds in this state."""

    counts: tuple[tuple[float, int, int], ...]
    run: int
    open: bool
    wait: float
    trips: int
    age: float


class _Tally:
    """Outcomes in order: counts of a window, and the failures since the last success."""

    __slots__ = ("counts", "run", "success_at")

    def __init__(self, window: float) -> None:
        self.counts = SlidingCounts(window)
        self.run = 0
        self.success_at: float | None = None

    def then(self, later: "_Tally") -> None:
        """Take in what came after."""
        self.counts.merge(later.counts)
        if later.success_at is None:
            self.run += later.run
        else:
            self.run, self.success_at = later.run, later.success_at


class Breaker:
    """One provider, with one owner's key. Times are of one monotonic clock."""

    def __init__(self, config: BreakerConfig) -> None:
        self._config = config
        self._shared = _Tally(config.window)
        self._sending: _Tally | None = None
        self._pending = _Tally(config.window)
        self._command: Command | None = None
        self._open = False
        self._until = 0.0
        self._trips = 0
        self._ended = 0
        self._quiet = True  # Nothing to tell and nothing to weigh: almost always.
        self.since: float | None = None
        """When the state changed last, None for never."""
        self.trials = 0
        """Trials of this replica in flight."""

    def state(self, now: float) -> State:
        """Whether calls may pass; `half_open`: only as trials."""
        if not self._open:
            return "closed"
        return "open" if now < self._until else "half_open"

    @property
    def reopens(self) -> float:
        """When an open breaker lets a call try."""
        return self._until

    def failures(self, now: float) -> int:
        """Failures within the window, as far as they are known here."""
        return self._evidence(now)[1]

    def succeeded(self, now: float) -> None:
        """An ordinary call was answered. One that began before the breaker opened says nothing new."""
        if not self._open:
            self._pending.counts.add(now, 1, 0)
            self._pending.run, self._pending.success_at = 0, now

    def failed(self, now: float) -> bool:
        """An ordinary call failed. Whether the breaker opened by it."""
        if self._open:
            return False
        self._quiet = False
        self._pending.counts.add(now, 0, 1)
        self._pending.run += 1
        return self._judge(now)

    def broke_off(self, now: float) -> bool:
        """A stream that had begun, and was counted as answered, failed."""
        if not self._open:
            self._pending.counts.add(now, -1, 0)
        return self.failed(now)

    def try_trial(self) -> bool:
        """Begin a trial, as far as this replica's own bound goes. It ends with `tried` or `abandoned`."""
        if self.trials >= self._config.trial_calls:
            return False
        self.trials += 1
        return True

    def tried(self, now: float, *, well: bool) -> bool:
        """A trial has a result. Whether the state changed by it."""
        self.abandoned()
        if not self._open:
            # Somebody else's trial has closed it meanwhile.
            if well:
                self.succeeded(now)
                return False
            return self.failed(now)
        if well:
            self._close(now)
        else:
            self._trip(now)
        return True

    def abandoned(self) -> None:
        """A trial ended without a result."""
        self.trials -= 1
        self._ended += 1
        self._quiet = False

    def not_granted(self) -> None:
        """The other replicas have as many trials as may be: this one did not begin."""
        self.trials -= 1

    @property
    def decided(self) -> bool:
        """Whether the others do not know this state yet."""
        return self._command is not None

    # --- sharing ------------------------------------------------------------------------------------------------

    def report(self, now: float) -> Report | None:
        """What is to be told now, None for nothing. Answer it with `told` or `not_told`."""
        if self._quiet:
            return None
        pending = self._pending
        if not (self._command or self._ended or pending.run or self._troubled(now)):
            return None
        report = Report(
            counts=tuple(pending.counts.by_age(now)),
            run=pending.run,
            # Successes of a quiet time came before the failures that others have told since.
            fresh=pending.success_at is not None and now - pending.success_at <= _A_MOMENT,
            open=self._open,
            command=self._command,
            wait=max(0.0, self._until - now),
            trips=self._trips,
            ended=self._ended,
        )
        self._sending, self._pending = pending, _Tally(self._config.window)
        self._command, self._ended = None, 0
        return report

    def not_told(self, report: Report) -> None:
        """Redis was lost: tell it next time."""
        if self._sending is not None:
            self._sending.then(self._pending)
            self._pending, self._sending = self._sending, None
        self._command = self._command or report.command
        self._ended += report.ended

    def adopt(self, record: Record | None, now: float) -> bool:
        """Take over what all have told, this replica included; None: nobody has. Whether the state changed."""
        if record is None and self._quiet:
            return False
        self._sending = None
        if self._command is not None:
            return False  # Decided while the record was on its way: it does not know that yet.
        if record is None:
            return self._adopt_nothing(now)
        self._quiet = False
        self._shared = _tally_of(record, self._config.window, now)
        was_open, self._open = self._open, record.open
        self._until, self._trips = now + record.wait, record.trips
        if was_open != self._open:
            self.since = now - record.age
            return True
        return not self._open and self._judge(now)

    def _adopt_nothing(self, now: float) -> bool:
        self._shared = _Tally(self._config.window)
        if self._open:
            self._command = "open"  # Redis has forgotten, the provider has not recovered.
        self._quiet = not (self._open or self._ended or self.failures(now))
        return False

    # --- rules --------------------------------------------------------------------------------------------------

    def _judge(self, now: float) -> bool:
        """Open where the evidence asks for it."""
        run, failures, calls = self._evidence(now)
        config = self._config
        often = failures >= config.window_failures and failures > config.failure_share * calls
        if run < config.consecutive_failures and not often:
            return False
        self._trip(now)
        return True

    def _evidence(self, now: float) -> tuple[int, int, int]:
        """Failures in a row, failures and calls within the window."""
        run = answered = failures = 0
        for tally in (self._shared, self._sending, self._pending):
            if tally is None:
                continue
            run = run + tally.run if tally.success_at is None else tally.run
            good, bad = tally.counts.totals(now)
            answered, failures = answered + good, failures + bad
        return run, failures, failures + max(0, answered)

    def _troubled(self, now: float) -> bool:
        """Whether there are failures that others' successes should be weighed against."""
        return self._shared.run > 0 or any(t.counts.totals(now)[1] for t in (self._shared, self._pending))

    def _trip(self, now: float) -> None:
        config = self._config
        wait = min(config.open_seconds * 2.0**self._trips, config.longest_open_seconds)
        if not self._open:
            self.since = now
        self._open, self._until, self._trips = True, now + wait, self._trips + 1
        self._command = "open"

    def _close(self, now: float) -> None:
        self._open, self._trips, self.since = False, 0, now
        self._shared, self._pending = _Tally(self._config.window), _Tally(self._config.window)
        self._sending = None
        self._command = "close"


def _tally_of(record: Record, window: float, now: float) -> _Tally:
    tally = _Tally(window)
    tally.run = record.run
    for age, good, bad in sorted(record.counts, reverse=True):
        tally.counts.add(now - age, good, bad)
    return tally
