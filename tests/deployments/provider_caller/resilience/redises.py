"""Redis that is lost, and Redis whose clock a test sets."""

from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError


class LostRedis:
    """Refuses every connection; counts the calls."""

    def __init__(self) -> None:
        self.calls = 0

    def register_script(self, text: str) -> Any:
        async def script(**arguments: object) -> None:
            self.calls += 1
            raise ConnectionError("refused")

        return script

    def pipeline(self, **options: object) -> Any:
        raise ConnectionError("refused")


class ClockedRedis:
    """A real Redis that takes the time for scripts from `clock`, counts them, and can be lost."""

    def __init__(self, redis: Redis, clock: Any) -> None:
        self._redis = redis
        self._clock = clock
        self.lost = False
        self.calls = 0

    def register_script(self, text: str) -> Any:
        assert "redis.call('TIME')" in text
        given = "{math.floor(tonumber(ARGV[#ARGV]) / 1000), (tonumber(ARGV[#ARGV]) % 1000) * 1000}"
        script = self._redis.register_script(text.replace("redis.call('TIME')", given))

        async def run(keys: list[str], args: list[Any]) -> Any:
            self.calls += 1
            if self.lost:
                raise ConnectionError("refused")
            return await script(keys=keys, args=[*args, int(self._clock() * 1000)])

        return run

    def pipeline(self, **options: Any) -> Any:
        return self._redis.pipeline(**options)
