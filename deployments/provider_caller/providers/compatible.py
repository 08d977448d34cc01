"""The operator's own server, or a tenant's: anything that speaks OpenAI's chat completions (vLLM, Ollama, ...)."""

from deployments.provider_caller.providers.base import Provider


class Compatible(Provider):
    """Its address and its models are settings."""

    id = "compatible"
    name = "The compatible server"
    base_url = ""
    needs_key = False


PROVIDER = Compatible()
