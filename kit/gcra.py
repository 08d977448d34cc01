"""The generic cell rate algorithm in Redis: a limit per minute or per day as one number per key.

The number is the theoretical arrival time (TAT): when all that was taken would have come at the allowed rate. A request
fits when its TAT is at most a whole burst ahead of now (https://brandur.org/rate-limiting; ITU-T I.371). One round
trip, atomic, and a key expires by itself once it says nothing any more. Times are Redis's own, so that replicas agree.
"""

from dataclasses import dataclass

from redis.asyncio import Redis

GCRA_LUA = """
local function now_ms()
    local t = redis.call('TIME')
    return t[1] * 1000 + t[2] / 1000
end
-- How long until `cost` fits (0: now), and the TAT it leads to. interval: ms per unit; burst: units at once.
local function gcra(key, cost, interval, burst, now)
    local tat = math.max(tonumber(redis.call('GET', key) or '0'), now)
    local after = tat + cost * interval
    local wait = after - burst * interval - now
    if cost > burst then wait = tat - now end  -- Larger than a whole burst: allowed alone, when nothing is taken.
    return math.max(wait, 0), after
end
local function gcra_keep(key, tat, now)
    redis.call('SET', key, string.format('%.3f', tat), 'PX', math.max(math.ceil(tat - now), 1))
end
"""
"""Functions for scripts that decide about several limits at once: look at all with `gcra`, then `gcra_keep` each."""

_TAKE = (
    GCRA_LUA
    + """
local now = now_ms()
local wait, tat = gcra(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), now)
if wait > 0 then return tostring(wait) end
gcra_keep(KEYS[1], tat, now)
return '0'
"""
)


@dataclass(frozen=True, slots=True)
class Rate:
    """`amount` units in each `seconds`; at most `burst` of them at once (default: all)."""

    amount: int
    seconds: float = 60.0
    burst: int | None = None

    @property
    def interval_ms(self) -> float:
        """Milliseconds that one unit takes."""
        return self.seconds * 1000 / self.amount

    @property
    def allowed_burst(self) -> int:
        """Units that may come at once."""
        return self.amount if self.burst is None else self.burst


class RateLimiter:
    """Takes from limits that all processes share. Raises RedisError or OSError when Redis is lost."""

    def __init__(self, redis: Redis) -> None:
        self._take = redis.register_script(_TAKE)

    async def take(self, key: str, rate: Rate, cost: int = 1) -> float:
        """0 where it was taken, else the seconds until it would fit; nothing was taken then."""
        wait = await self._take(keys=[key], args=[cost, rate.interval_ms, rate.allowed_burst])
        return float(wait) / 1000
