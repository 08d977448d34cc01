from datetime import date
from pathlib import Path

import pytest

from deployments.protocols import Usage
from deployments.provider_caller.catalogue import Catalogue, Model, Price, Provider, load_providers
from deployments.provider_caller.config import ProviderCallerConfig, ProviderKeys
from kit.errors import SetupError


def config(**fields: object) -> ProviderCallerConfig:
    return ProviderCallerConfig.model_validate(fields)


def priced(*prices: dict[str, object]) -> Catalogue:
    model = Model(id="m", prices=tuple(Price.model_validate(price) for price in prices))
    return Catalogue(config(), {"p": Provider(name="P", base_url="http://p", models=(model,))})


def test_the_shipped_providers_are_valid_and_no_price_is_zero() -> None:
    providers = load_providers()
    assert set(providers) == {"openai", "anthropic", "google", "groq", "perplexity"}
    for provider in providers.values():
        assert provider.base_url.startswith("https://")
        for model in provider.models:
            assert all(price.input > 0 and price.output > 0 for price in model.prices)


def test_a_provider_is_available_with_a_key_or_a_base_url_of_the_operators() -> None:
    catalogue = Catalogue(config(keys=ProviderKeys(groq="k"), base_urls={"google": "http://127.0.0.1:9/v1"}))
    states = {state.id: state for state in catalogue.states()}
    assert {id for id, state in states.items() if state.available} == {"groq", "google"}
    assert "OPENAI_API_KEY" in states["openai"].remedy
    google = catalogue.endpoint("google")
    assert google is not None
    assert (google.base_url, google.key) == ("http://127.0.0.1:9/v1", None)
    assert catalogue.endpoint("openai") is None
    assert catalogue.endpoint("unheard-of") is None


def test_a_provider_whose_endpoint_has_ended_needs_another_one() -> None:
    keys = ProviderKeys(perplexity="k")
    (state,) = [state for state in Catalogue(config(keys=keys)).states() if state.id == "perplexity"]
    assert not state.available
    assert "2026-09-27" in state.remedy
    assert Catalogue(config(keys=keys, base_urls={"perplexity": "http://x"})).endpoint("perplexity") is not None


def test_states_and_endpoints_do_not_show_keys() -> None:
    catalogue = Catalogue(config(keys=ProviderKeys(openai="sk-secret")))
    assert "sk-secret" not in repr(catalogue.states())
    assert "sk-secret" not in repr(catalogue.endpoint("openai"))


def test_the_operators_own_server_offers_the_models_that_are_named() -> None:
    catalogue = Catalogue(config(compatible_base_url="http://gpu:8000/v1", compatible_models=["qwen"]))
    (state,) = [state for state in catalogue.states() if state.id == "compatible"]
    assert state.available
    assert [model.id for model in state.models] == ["qwen"]


@pytest.mark.parametrize("wrong", [{"compatible_base_url": "http://x"}, {"base_urls": {"opnai": "http://x"}}])
def test_settings_that_cannot_work_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(SetupError, match=r"COMPATIBLE_MODELS|opnai"):
        Catalogue(config(**wrong))


def test_the_price_of_the_day_counts() -> None:
    catalogue = priced(
        {"from": "2026-01-01", "input": 10, "output": 20}, {"from": "2027-01-01", "input": 1, "output": 2}
    )
    usage = Usage(100, 10)
    assert catalogue.cost("p", "m", usage, date(2026, 12, 31)) == 1200
    assert catalogue.cost("p", "m", usage, date(2027, 1, 1)) == 120
    assert catalogue.cost("p", "m", usage, date(2025, 1, 1)) is None


def test_cached_tokens_cost_their_own_price() -> None:
    catalogue = priced({"from": "2026-01-01", "input": 10, "cached_input": 1, "output": 20})
    assert catalogue.cost("p", "m", Usage(100, 0, cached_tokens=60), date(2026, 6, 1)) == 40 * 10 + 60


def test_beyond_what_a_price_holds_for_the_cost_is_unknown() -> None:
    catalogue = priced({"from": "2026-01-01", "input": 10, "output": 20, "up_to": 1000})
    assert catalogue.cost("p", "m", Usage(1000, 1), date(2026, 6, 1)) == 10_020
    assert catalogue.cost("p", "m", Usage(1001, 1), date(2026, 6, 1)) is None
    assert catalogue.cost("p", "unknown", Usage(1, 1)) is None
    assert catalogue.cost("unknown", "m", Usage(1, 1)) is None


def test_a_wrong_file_says_where(tmp_path: Path) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(
        "openai: {name: OpenAI, base_url: x, models: [{id: m, prices: [{from: 2026-01-01, input: 0, output: 1}]}]}"
    )
    with pytest.raises(SetupError, match=r"openai\.models\.0\.prices\.0\.input"):
        load_providers(file)
