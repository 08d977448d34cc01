"""Settings of retries, breakers, queues and limits towards providers."""

from typing import Self

import pydantic
from pydantic import Field

from kit.settings import Section


class RetryConfig(Section):
    """When an attempt that failed is repeated."""

    attempts: int = Field(3, ge=1, le=10, description="Attempts at one target where no fallback is at hand.")
    attempts_before_fallback: int = Field(2, ge=1, le=10, description="Attempts at one target before its fallback.")
    first_wait: float = Field(0.1, gt=0, le=10, description="Seconds before the first retry; each later one doubles.")
    jitter: float = Field(0.25, ge=0, le=1, description="Share by which a wait is made longer or shorter at random.")
    longest_wait_before_fallback: float = Field(
        0.5, ge=0, le=10, description="Seconds; where a retry would have to wait longer, the fallback is asked."
    )
    budget_share: float = Field(0.1, ge=0, le=1, description="Most retries, as a share of a provider's calls.")
    budget_floor: int = Field(10, ge=0, description="Retries that are allowed within the window in any case.")
    budget_window: float = Field(30.0, gt=0, le=3600, description="Seconds over which calls and retries are counted.")


class BreakerConfig(Section):
    """When a provider is left alone because it fails."""

    consecutive_failures: int = Field(5, ge=1, description="Failures in a row that open the breaker.")
    window: float = Field(60.0, gt=0, le=3600, description="Seconds over which the share of failures is taken.")
    window_failures: int = Field(
        5, ge=1, description="Failures within the window below which their share says nothing."
    )
    failure_share: float = Field(0.5, gt=0, le=1, description="The breaker opens above this share of failures.")
    open_seconds: float = Field(15.0, gt=0, le=3600, description="Seconds until an open breaker lets a first call try.")
    longest_open_seconds: float = Field(
        60.0, gt=0, le=3600, description="Each failed trial doubles the time, up to this many seconds."
    )
    trial_calls: int = Field(2, ge=1, le=100, description="Calls of all replicas that may try a provider at a time.")
    trial_seconds: float = Field(60.0, gt=0, le=3600, description="Seconds after which a trial without a result ends.")
    key_refusals: int = Field(3, ge=1, description="Refusals of the key in a row after which it counts as broken.")
    broken_key_seconds: float = Field(
        10.0, gt=0, le=3600, description="Seconds for which a broken key or a spent account is left alone."
    )
    stalled_answer: float = Field(
        20.0, gt=0, le=3600, description="Seconds after which an answer that never came is the provider's failure."
    )
    share_every: float = Field(0.2, gt=0, le=60, description="Seconds between two looks at what other replicas found.")


class QueueConfig(Section):
    """Calls that wait for a provider."""

    max_concurrency: int = Field(
        256, ge=1, description="Calls one replica has at one provider where its limits do not say."
    )
    max_waiting: int = Field(
        100, ge=0, description="Calls of one replica that wait for one provider; more go elsewhere."
    )
    longest_wait: float = Field(10.0, ge=0, le=3600, description="Seconds a call waits for a provider's limits.")
    longest_pause: float = Field(
        900.0, gt=0, le=86_400, description="Most seconds for which a provider's `Retry-After` is believed."
    )


class FirstTokenConfig(Section):
    """When a stream that has not begun is given up: its model's own 99.9th percentile, within bounds."""

    least: float = Field(5.0, gt=0, le=3600, description="Least seconds a stream is given to begin.")
    most: float = Field(20.0, gt=0, le=3600, description="Most seconds a stream is given to begin.")
    default: float = Field(15.0, gt=0, le=3600, description="Seconds where too little is known of the model.")
    samples: int = Field(50, ge=1, le=512, description="Streams that must have been seen before they count.")

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.least > self.most:
            raise ValueError("`least` must not be above `most`.")
        return self


class HedgeConfig(Section):
    """A second attempt beside one that is slow to begin."""

    enabled: bool = Field(False, description="Whether calls that allow it are hedged. A hedge may be charged twice.")
    samples: int = Field(20, ge=1, le=512, description="Answers that must have been seen before `slow` means anything.")


class ProbeConfig(Section):
    """Looks at a provider that nobody calls any more."""

    interval: float = Field(
        10.0, gt=0, le=3600, description="Seconds between looks at providers whose breaker is open."
    )
    timeout: float = Field(5.0, gt=0, le=60, description="Seconds a look may take.")


class ResilienceConfig(Section):
    """What is done when a provider fails."""

    retry: RetryConfig = Field(default_factory=RetryConfig)
    breaker: BreakerConfig = Field(default_factory=BreakerConfig)
    queue: QueueConfig = Field(default_factory=QueueConfig)
    first_token: FirstTokenConfig = Field(default_factory=FirstTokenConfig)
    hedge: HedgeConfig = Field(default_factory=HedgeConfig)
    probe: ProbeConfig = Field(default_factory=ProbeConfig)
    context_margin: float = Field(
        0.2, ge=0, lt=1, description="Share by which a prompt's estimated size may be too high; it decides what fits."
    )
    redis_timeout: float = Field(0.25, gt=0, le=10, description="Seconds after which a call to Redis counts as lost.")
    redis_pause: float = Field(1.0, ge=0, le=60, description="Seconds without Redis after it was lost.")
