from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deployments.protocols import Usage
from deployments.provider_caller.catalogue import Catalogue, Model, ProviderEntry, load_providers
from deployments.provider_caller.config import ProviderCallerConfig, ProviderKeys
from deployments.provider_caller.prices import Price, load_prices
from deployments.provider_caller.providers.registry import load_registry
from deployments.settings import CONFIGS
from kit.errors import SetupError

DAY = date(2026, 6, 1)


def config(**fields: object) -> ProviderCallerConfig:
    return ProviderCallerConfig.model_validate(fields)


def priced(*prices: dict[str, object]) -> Catalogue:
    table = {"openai": {"m": tuple(Price.model_validate({"from": "2026-01-01", **price}) for price in prices)}}
    return Catalogue(config(), {"openai": ProviderEntry(models=(Model(id="m"),))}, prices=table)


def cost(catalogue: Catalogue, usage: Usage, day: date = DAY) -> int | None:
    return catalogue.cost("openai", "m", usage, day)


def test_the_shipped_providers_are_valid_and_each_has_its_file() -> None:
    entries, providers = load_providers(), load_registry()
    assert set(entries) == {"openai", "anthropic", "google", "groq", "perplexity"}
    assert set(providers) == {*entries, "compatible"}
    for id, entry in entries.items():
        assert entry.base_url == providers[id].base_url
        assert all(model.context_window and model.capabilities for model in entry.models)


def test_every_shipped_price_belongs_to_a_model_and_none_is_zero() -> None:
    models = {(id, model.id) for id, entry in load_providers().items() for model in entry.models}
    table = {(id, model): prices for id, prices_of in load_prices().items() for model, prices in prices_of.items()}
    assert set(table) == models
    for prices in table.values():
        for rates in [rates for price in prices for rates in (price, *price.tiers)]:
            assert rates.output > rates.input > 0
            assert rates.cached_input is None or 0 < rates.cached_input < rates.input
            assert rates.cache_write is None or rates.cache_write >= rates.input


def test_the_shipped_table_says_unknown_by_null_alone() -> None:
    table = yaml.safe_load((CONFIGS / "prices.yaml").read_text("utf-8"))
    assert [model for models in table.values() for model, prices in models.items() if prices is None] == ["sonar-pro"]
    assert Catalogue(config()).cost("perplexity", "sonar-pro", Usage(10, 10)) is None


def test_a_provider_is_available_with_a_key_or_a_base_url_of_the_operators() -> None:
    catalogue = Catalogue(config(keys=ProviderKeys(groq="k"), base_urls={"google": "http://127.0.0.1:9/v1"}))
    states = {state.id: state for state in catalogue.states()}
    assert {id for id, state in states.items() if state.available} == {"groq", "google"}
    assert "OPENAI_API_KEY" in states["openai"].remedy
    google = catalogue.endpoint("google")
    assert google is not None
    assert (google.base_url, google.key, google.tenant_owned) == ("http://127.0.0.1:9/v1", None, False)
    assert catalogue.endpoint("openai") is None
    assert catalogue.endpoint("unheard-of") is None


def test_a_tenants_endpoint_owes_nothing_to_the_operators_settings() -> None:
    catalogue = Catalogue(config(base_urls={"openai": "http://10.0.0.1/v1"}))
    endpoint = catalogue.tenant_endpoint("openai", "sk-tenant")
    assert endpoint is not None
    assert (endpoint.base_url, endpoint.key, endpoint.tenant_owned) == ("https://api.openai.com/v1", "sk-tenant", True)
    own = catalogue.tenant_endpoint("compatible", None, "https://llm.example.com/v1")
    assert own is not None
    assert own.base_url == "https://llm.example.com/v1"
    assert catalogue.tenant_endpoint("compatible", None) is None
    assert catalogue.tenant_endpoint("unheard-of", "k") is None


def test_states_and_endpoints_do_not_show_keys() -> None:
    catalogue = Catalogue(config(keys=ProviderKeys(openai="sk-secret")))
    assert "sk-secret" not in repr(catalogue.states())
    assert "sk-secret" not in repr(catalogue.endpoint("openai"))


def test_the_operators_own_server_offers_the_models_that_are_named_at_the_operators_price() -> None:
    prices = {"qwen": {"input": 100, "output": 300}}
    settings = config(
        compatible_base_url="http://gpu:8000/v1", compatible_models=["qwen", "phi"], compatible_prices=prices
    )
    catalogue = Catalogue(settings)
    (state,) = [state for state in catalogue.states() if state.id == "compatible"]
    assert state.available
    assert [model.id for model in state.models] == ["qwen", "phi"]
    assert catalogue.cost("compatible", "qwen", Usage(10, 1)) == 1300
    assert catalogue.cost("compatible", "phi", Usage(10, 1)) is None


def test_limits_of_the_settings_win_field_by_field() -> None:
    entry = ProviderEntry.model_validate({"limits": {"requests_per_minute": 30, "requests_per_day": 500}})
    catalogue = Catalogue(config(limits={"groq": {"requests_per_day": 900}}), {"groq": entry})
    limits = catalogue.limits("groq")
    assert (limits.requests_per_minute, limits.requests_per_day, limits.max_concurrency) == (30, 900, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"compatible_base_url": "http://x"},
        {"base_urls": {"opnai": "http://x"}},
        {"limits": {"opnai": {"requests_per_day": 1}}},
    ],
)
def test_settings_that_cannot_work_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(SetupError, match=r"COMPATIBLE_MODELS|opnai"):
        Catalogue(config(**wrong))


def test_an_entry_for_a_provider_that_has_no_file_is_named() -> None:
    with pytest.raises(SetupError, match="mistral"):
        Catalogue(config(), {"mistral": ProviderEntry()})


def test_the_price_of_the_day_counts() -> None:
    catalogue = priced({"input": 10, "output": 20}, {"from": "2027-01-01", "input": 1, "output": 2})
    assert cost(catalogue, Usage(100, 10), date(2026, 12, 31)) == 1200
    assert cost(catalogue, Usage(100, 10), date(2027, 1, 1)) == 120
    assert cost(catalogue, Usage(100, 10), date(2025, 1, 1)) is None
    price = catalogue.price("openai", "m", date(2027, 1, 1))
    assert price is not None
    assert price.input == 1


def test_tokens_read_from_and_written_to_the_cache_cost_their_own_prices() -> None:
    catalogue = priced({"input": 10, "cached_input": 1, "cache_write": 12, "output": 20})
    assert cost(catalogue, Usage(100, 0, cached_tokens=60, cache_write_tokens=30)) == 10 * 10 + 60 * 1 + 30 * 12
    plain = priced({"input": 10, "output": 20})
    assert cost(plain, Usage(100, 0, cached_tokens=60, cache_write_tokens=30)) == 1000


def test_parts_of_a_nano_dollar_are_exact_and_rounded_once() -> None:
    catalogue = priced({"input": 75, "cached_input": 37.5, "output": 300})
    assert cost(catalogue, Usage(2, 0, cached_tokens=2)) == 75
    assert cost(catalogue, Usage(3, 0, cached_tokens=3)) == 113


def test_a_long_prompt_has_its_own_rates_for_every_token() -> None:
    tier = {"above": 1000, "input": 100, "output": 200, "cached_input": 50}
    catalogue = priced({"input": 10, "output": 20, "cached_input": 5, "tiers": [tier]})
    assert cost(catalogue, Usage(1000, 1)) == 10_020
    assert cost(catalogue, Usage(1001, 1, cached_tokens=1)) == 1000 * 100 + 50 + 200


def test_a_fee_for_each_request_is_added() -> None:
    assert cost(priced({"input": 1, "output": 1, "request": 5_000_000}), Usage(1, 1)) == 5_000_002


def test_a_cost_that_the_provider_states_counts() -> None:
    assert cost(priced({"input": 1, "output": 1}), Usage(1, 1, cost=77)) == 77
    assert Catalogue(config()).cost("unknown", "m", Usage(1, 1, cost=0)) == 0


def test_what_is_not_in_the_table_has_an_unknown_cost() -> None:
    catalogue = priced({"input": 10, "output": 20})
    assert catalogue.cost("openai", "unknown", Usage(1, 1)) is None
    assert catalogue.cost("unknown", "m", Usage(1, 1)) is None


COUNTS = st.integers(0, 10**7)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_no_count_however_odd_costs_less_than_nothing_or_more_than_the_dearest(
    prompt: int, output: int, cached: int, written: int
) -> None:
    price = Price.model_validate(
        {"from": "2026-01-01", "input": 10, "output": 20, "cached_input": 1, "cache_write": 12}
    )
    found = price.cost(Usage(prompt, output, cached, written))
    assert prompt * 1 + output * 20 <= found <= prompt * 12 + output * 20


@pytest.mark.parametrize(
    ("load", "text", "path"),
    [
        (load_providers, "openai: {models: [{id: m, context_window: 0}]}", r"openai\.models\.0\.context_window"),
        (load_prices, "openai: {m: [{from: 2026-01-01, input: -1, output: 1}]}", r"openai\.m\..*input"),
        (load_prices, "openai: {m: [{from: 2026-01-01, input: 1.5, output: 1}]}", r"openai\.m\..*input"),
    ],
)
def test_a_wrong_file_says_where(tmp_path: Path, load: Any, text: str, path: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(SetupError, match=path):
        load(file)
