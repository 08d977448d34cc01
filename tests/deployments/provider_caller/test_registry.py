"""Providers of installed packages: distributions on the path whose entry points register them."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from deployments.protocols import Usage
from deployments.provider_caller.catalogue import Catalogue
from deployments.provider_caller.config import ProviderCallerConfig
from deployments.provider_caller.http_client import HttpClient
from deployments.provider_caller.providers.registry import load_registry
from kit.egress import EgressRules
from kit.errors import SetupError
from tests.docs.pages import blocks_of

PAGE = Path("docs/contributors/add-a-provider.md")
ANSWER = (
    b'{"choices":[{"message":{"role":"assistant","content":"Hi"}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}'
)

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a distribution with one module and one entry point on the path."""

    def build(module: str, source: str, target: str) -> None:
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[penstock.providers]\n{module} = {target}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(sys, "modules", dict(sys.modules))

    return build


def example(language: str) -> str:
    return next(block.text for block in blocks_of(PAGE) if block.language == language)


async def test_the_example_of_the_documentation_is_a_provider_that_answers(
    install: Install, provider: Any, call: Any, script: Any
) -> None:
    install("penstock_acme", example("python"), "penstock_acme:PROVIDER")
    config = ProviderCallerConfig.model_validate({"more_keys": {"acme": "sk-1"}, "base_urls": {"acme": provider.url}})
    catalogue = Catalogue(config)
    (state,) = [state for state in catalogue.states() if state.id == "acme"]
    assert (state.name, state.available) == ("Acme", True)
    endpoint = catalogue.endpoint("acme")
    assert endpoint is not None
    limits = {"connect_timeout": 2, "max_connections": 4, "max_answer_bytes": 10_000}
    client = HttpClient(catalogue.providers, **limits, egress=EgressRules())
    provider.script = script.answers(ANSWER)
    model = state.models[0]
    body = orjson.dumps({"model": "auto", "messages": [], "seed": 1})
    completed = await client.complete(endpoint, call(body, provider="acme", model=model.id))
    await client.close()
    path, headers, sent = provider.seen[0]
    assert (path, headers["Authorization"]) == ("/v1/chat/completions", "Bearer sk-1")
    assert orjson.loads(sent) == {"model": model.id, "messages": []}
    assert completed.usage == Usage(3, 1)
    assert catalogue.cost("acme", model.id, completed.usage) == model.prices[0].cost(completed.usage)


def test_the_page_fits_fifty_lines() -> None:
    assert len((Path(__file__).parents[3] / PAGE).read_text("utf-8").splitlines()) <= 50


def test_without_a_key_the_remedy_names_the_setting(install: Install) -> None:
    install("penstock_acme", example("python"), "penstock_acme:PROVIDER")
    (state,) = [state for state in Catalogue(ProviderCallerConfig()).states() if state.id == "acme"]
    assert not state.available
    assert "PENSTOCK_PROVIDER_CALLER__MORE_KEYS" in state.remedy


def test_a_class_may_be_registered_too(install: Install) -> None:
    source = (
        "from deployments.provider_caller.providers.base import Provider\nclass P(Provider):\n    id = name = 'p'\n"
    )
    install("penstock_p", source, "penstock_p:P")
    assert load_registry()["p"].name == "p"


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("", "penstock_bad:PROVIDER", "cannot be loaded"),
        ("1/0", "penstock_bad:PROVIDER", "division by zero"),
        ("PROVIDER = 7", "penstock_bad:PROVIDER", "is no provider"),
        (
            "from deployments.provider_caller.providers.openai import OpenAI as PROVIDER",
            "penstock_bad:PROVIDER",
            "'openai'; there is one already",
        ),
    ],
)
def test_a_package_that_cannot_be_used_is_named(install: Install, source: str, target: str, says: str) -> None:
    install("penstock_bad", source, target)
    with pytest.raises(SetupError, match=says) as caught:
        load_registry()
    assert "penstock_bad" in caught.value.message


def test_a_wrong_entry_of_a_package_is_named(install: Install) -> None:
    source = example("python").replace('"models"', '"modells"')
    install("penstock_acme", source, "penstock_acme:PROVIDER")
    with pytest.raises(SetupError, match="modells"):
        Catalogue(ProviderCallerConfig())
