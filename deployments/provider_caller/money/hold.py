"""Money that is held for one attempt, from its reservation to its settlement."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from deployments.protocols import Account


@dataclass(slots=True, eq=False)
class Hold:
    """id: also that of the attempt's ledger row, so that a settlement happens once. at: when it was reserved; the
    attempt is charged to the periods of that moment. amount: nano-dollars, None where the price is unknown.

    counters: the keys where it is reserved, none where no budget applies: Redis knows nothing of it then. tokens: what
    the rate limits were told; the first attempt's alone. expires: milliseconds since 1970.
    """

    id: UUID
    account: Account
    at: datetime
    amount: int | None
    counters: tuple[str, ...] = ()
    tokens: int = 0
    payload: bytes = b""
    expires: int = 0
    recorded: bool = False
    """The ledger has taken it over."""
    closed: bool = False
    """Redis has settled it or given it back."""

    @property
    def key(self) -> str:
        """Its name in Redis, '' where Redis does not know it."""
        return self.id.hex if self.counters else ""


def payload_of(amount: int | None, counters: tuple[str, ...], claim: dict[str, Any]) -> bytes:
    """What Redis keeps: amount, counters, and what the ledger row of a lost attempt is made of; three lines."""
    return b"%d\n%b\n%b" % (amount or 0, " ".join(counters).encode(), orjson.dumps(claim))


def read_payload(payload: bytes) -> tuple[int, tuple[str, ...], dict[str, Any]]:
    """Amount, counters and claim."""
    amount, counters, claim = payload.split(b"\n", 2)
    return int(amount), tuple(counters.decode().split()), orjson.loads(claim)
