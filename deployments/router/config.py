"""Settings of the router stage."""

from pydantic import Field

from kit.settings import Section


class RouterConfig(Section):
    """How a model is chosen."""

    policy: str = Field("default", description="Name of the policy table under configs/routing/.")
