"""Settings of money and limits."""

from pydantic import Field

from kit.settings import Section


class MoneyConfig(Section):
    """How money is reserved and settled."""

    reserve_margin: float = Field(
        60.0, gt=0, description="Seconds beyond a call's deadline after which its reservation counts as lost."
    )
    settle_every: float = Field(0.05, gt=0, description="Seconds between two batches of the usage ledger.")
    batch_rows: int = Field(1000, ge=1, le=5000, description="Most rows that one batch writes for one tenant.")
    max_waiting_rows: int = Field(
        100_000, ge=1, description="Rows one replica keeps in memory while Postgres is lost; the rest is in Redis only."
    )
    redis_timeout: float = Field(1.0, gt=0, description="Seconds an admission waits for Redis.")
    redis_pause: float = Field(1.0, ge=0, description="Seconds that a lost Redis is left alone.")
    rebuild_pause: float = Field(
        3.0, ge=0, description="Seconds hard budgets refuse after Redis lost its data; replicas report open calls then."
    )
    reconcile_every: float = Field(30.0, gt=0, description="Seconds between two searches for lost reservations.")
    audit_every: float = Field(300.0, gt=0, description="Seconds between two comparisons of Redis with the ledger.")
    image_tokens: int = Field(20_000, ge=0, description="Most tokens that one image is billed for.")
    file_tokens: int = Field(200_000, ge=0, description="Most tokens that one file or sound is billed for.")
    assumed_output_tokens: int = Field(
        32_768, ge=1, description="Output reserved where neither the request nor the model has a maximum."
    )
    assumed_prompt_tokens: int = Field(
        400_000,
        ge=1,
        description="Prompt reserved where part of it lies with the provider (previous_response_id).",
    )
