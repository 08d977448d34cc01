"""Settings of the cache stage."""

from pydantic import Field

from kit.settings import Section


class CacheConfig(Section):
    """What is kept of answers, and how long."""

    enabled: bool = Field(True, description="False: nothing is stored or looked up.")
    ttl: int = Field(3600, ge=0, description="Seconds an answer lives where configs/cache.yaml names no other time.")
    max_bytes: int = Field(1_000_000, ge=1, description="Larger answers are not stored.")
    redis_timeout: float = Field(0.5, gt=0, description="Seconds after which a look-up in Redis counts as a miss.")
    redis_pause: float = Field(1.0, ge=0, description="Seconds without Redis after it was lost, before the next try.")
    standby_bytes: int = Field(
        16_000_000, ge=0, description="Memory in which each process keeps answers while Redis is lost."
    )
