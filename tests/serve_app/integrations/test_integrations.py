"""Tenants bring their own keys over the API: tried before they are stored, and never seen again."""

import itertools
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from deployments.provider_caller.catalogue import Catalogue, ProviderEntry
from deployments.provider_caller.config import ProviderCallerConfig
from kit.egress import EgressRules
from kit.errors import UnprocessableError
from kit.ids import uuid7
from serve_app.integrations.key_check import KeyCheck

GOOD = "sk-good-0123456789-abcd"
REFUSED = "sk-refused-0123456789-abcd"
NONE = {"integrations": [], "next_cursor": None}


async def test_a_key_that_the_provider_accepts_is_stored_and_used(world: Any) -> None:
    shown = await world.add(config={"organisation": "org-1"})
    assert shown["provider"] == "openai"
    assert shown["user_id"] == str(world.principals["admin"].user_id)
    assert shown["hint"] == "sk-…abcd"
    assert shown["config"] == {"organisation": "org-1"}
    assert (shown["tested"], shown["problem"]) == (True, None)
    assert shown["tested_at"]
    assert {"id", "inserted_at", "updated_at"} <= set(shown)
    assert world.provider.paths == ["/openai/models"]
    assert await world.stored_key() == GOOD
    assert await world.stored_key(tenant="stranger") is None


async def test_every_provider_is_tried_as_it_wants_to_be_asked(world: Any) -> None:
    for provider in ("openai", "anthropic", "groq", "google", "perplexity"):
        shown = await world.add(provider)
        assert shown["tested"], provider
    assert world.provider.keys == [GOOD] * 5


async def test_a_key_that_the_provider_refuses_is_not_stored(world: Any) -> None:
    refused = await world.post(key=REFUSED)
    assert refused.status_code == 422
    error = refused.json()["error"]
    assert error["details"] == {"key": ["OpenAI refused this key."]}
    assert await world.stored_key() is None
    assert (await world.admin.get("/api/integrations")).json() == NONE


@pytest.mark.parametrize("status", [302, 404, 429, 500, 503])
async def test_a_provider_that_cannot_say_leaves_the_key_stored_and_untested(world: Any, status: int) -> None:
    world.provider.broken = status
    shown = await world.add()
    assert (shown["tested"], shown["tested_at"]) == (False, None)
    assert shown["problem"] == f"OpenAI answered the try with status {status}."
    assert await world.stored_key() == GOOD


async def test_a_provider_that_cannot_be_reached_leaves_the_key_untested() -> None:
    catalogue = Catalogue(ProviderCallerConfig(), {"openai": ProviderEntry(base_url="http://127.0.0.1:1")})
    tried = await KeyCheck(catalogue, EgressRules.of(["127.0.0.1:1"])).try_key("openai", SecretStr(GOOD), None)
    assert (tried.tested, tried.problem) == (False, "OpenAI could not be reached.")


async def test_a_tenants_own_server_is_tried_where_it_is(world: Any) -> None:
    shown = await world.add("compatible", None, base_url=f"{world.provider.url}/mine/v1/")
    assert shown["base_url"] == f"{world.provider.url}/mine/v1"
    assert (shown["tested"], shown["hint"]) == (True, "")
    assert world.provider.paths == ["/mine/v1/models"]
    assert world.provider.keys == [""]


async def test_a_redirect_of_a_tenants_server_is_refused_and_not_followed(world: Any) -> None:
    world.provider.broken = 302
    refused = await world.post("compatible", base_url=f"{world.provider.url}/v1")
    assert refused.status_code == 422
    assert "redirect" in refused.json()["error"]["details"]["base_url"][0]
    assert len(world.provider.paths) == 1


@pytest.mark.parametrize(
    "base_url",
    [
        *("http://api.example.com/v1", "https://127.0.0.1/v1", "https://localhost/v1", "https://169.254.169.254/v1"),
        *("https://[::ffff:10.0.0.1]/v1", "https://2130706433/v1", "https://u:p@api.example.com/v1", "file:///etc"),
        *("https://api.example.com/v1?a=b", "https://api.example.com/v1#a", "https://redis:6379", "\x00", ""),
    ],
)
async def test_a_base_url_that_is_not_public_is_refused_before_anything_is_called(world: Any, base_url: str) -> None:
    for provider in ("compatible", "openai"):
        refused = await world.post(provider, base_url=base_url)
        assert refused.status_code == 400
        assert list(refused.json()["error"]["details"]) == ["base_url"]
    assert world.provider.keys == []


async def test_a_tenants_address_where_nobody_answers_is_refused(world: Any) -> None:
    refused = await world.post("openai", base_url="http://127.0.0.1:1/v1")
    assert refused.status_code == 422
    assert list(refused.json()["error"]["details"]) == ["base_url"]
    assert await world.stored_key() is None


async def test_an_address_that_is_no_longer_public_when_it_is_called_gets_no_key(world: Any) -> None:
    check = KeyCheck(Catalogue(ProviderCallerConfig()), EgressRules())
    with pytest.raises(UnprocessableError) as refused:
        await check.try_key("openai", SecretStr(GOOD), world.provider.url)
    assert list(refused.value.details) == ["base_url"]
    assert world.provider.keys == []


async def test_taskmaster_is_stored_with_its_configuration_and_not_called(world: Any) -> None:
    shown = await world.add("taskmaster", None, config={"project": "p1", "tags": ["a"]})
    assert shown["config"] == {"project": "p1", "tags": ["a"]}
    assert not shown["tested"]
    assert world.provider.keys == []


async def test_a_tenant_has_one_integration_for_a_provider(world: Any) -> None:
    await world.add()
    again = await world.post(key="sk-another-0123456789-abcd")
    assert again.status_code == 409
    assert list(again.json()["error"]["details"]) == ["provider"]
    assert await world.stored_key() == GOOD
    await world.add("groq")
    other = await world.stranger.post("/api/integrations", json={"provider": "openai", "key": GOOD})
    assert other.status_code == 201, "another tenant has its own"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"key": GOOD}, "provider"),
        ({"provider": "nobody", "key": GOOD}, "provider"),
        ({"provider": "local", "key": GOOD}, "provider"),
        ({"provider": "openai"}, "key"),
        ({"provider": "openai", "key": ""}, "key"),
        ({"provider": "openai", "key": "  "}, "key"),
        ({"provider": "openai", "key": "sk-with space"}, "key"),
        ({"provider": "openai", "key": "sk-line\r\nbreak: x"}, "key"),
        ({"provider": "openai", "key": "sk-ü"}, "key"),
        ({"provider": "openai", "key": "x" * 501}, "key"),
        ({"provider": "openai", "key": 7}, "key"),
        ({"provider": "compatible", "key": GOOD}, "base_url"),
        ({"provider": "taskmaster", "base_url": "https://api.example.com"}, "base_url"),
        ({"provider": "openai", "key": GOOD, "config": []}, "config"),
        ({"provider": "openai", "key": GOOD, "config": {"api_key": "x"}}, "config"),
        ({"provider": "openai", "key": GOOD, "config": {"a": [{"accessToken": "x"}]}}, "config"),
        ({"provider": "openai", "key": GOOD, "config": {"a": "x" * 10_001}}, "config"),
        ({"provider": "openai", "key": GOOD, "config": {"a": "\x00"}}, "config"),
        ({"provider": "openai", "key": GOOD, "api_key": GOOD}, "api_key"),
    ],
)
async def test_bad_input_is_refused_with_the_name_of_the_field(world: Any, body: dict[str, Any], field: str) -> None:
    refused = await world.admin.post("/api/integrations", json=body)
    assert refused.status_code == 400
    assert list(refused.json()["error"]["details"]) == [field]
    assert (await world.admin.get("/api/integrations")).json() == NONE
    assert world.provider.keys == []


FIELDS = ("provider", "key", "base_url", "config")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["compatible", "\0", GOOD]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1))
async def test_whatever_comes_in_is_stored_or_a_clear_error(world: Any, changes: dict[str, Any]) -> None:
    body = {"provider": "taskmaster", "key": GOOD, "config": {}, **changes}
    response = await world.admin.post("/api/integrations", content=json.dumps(body).encode())
    assert response.status_code in (201, 400), response.text
    if response.status_code == 201:
        assert (await world.admin.delete(f"/api/integrations/{response.json()['id']}")).status_code == 204


async def test_a_configuration_may_name_what_is_no_secret(world: Any) -> None:
    config = {"max_tokens": 5, "monkey": 1, "keyboard": "de", "turkey": True}
    assert (await world.add(config=config))["config"] == config


async def test_a_key_is_changed_by_a_put_and_stays_where_it_is_left_out(world: Any) -> None:
    id = (await world.add(config={"a": 1}))["id"]
    changed = await world.admin.put(f"/api/integrations/{id}", json={"key": "sk-good-second-0123456789-wxyz"})
    assert changed.json()["hint"] == "sk-…wxyz"
    assert changed.json()["config"] == {}, "a PUT states the whole"
    kept = await world.admin.put(f"/api/integrations/{id}", json={"config": {"b": 2}})
    assert (kept.json()["hint"], kept.json()["config"]) == ("sk-…wxyz", {"b": 2})
    assert await world.stored_key() == "sk-good-second-0123456789-wxyz"
    assert world.provider.keys[-1] == "sk-good-second-0123456789-wxyz", "the kept key is tried as well"


async def test_a_put_with_a_refused_key_changes_nothing(world: Any) -> None:
    id = (await world.add(config={"a": 1}))["id"]
    refused = await world.admin.put(f"/api/integrations/{id}", json={"key": REFUSED})
    assert refused.status_code == 422
    assert (await world.admin.get(f"/api/integrations/{id}")).json()["config"] == {"a": 1}
    assert await world.stored_key() == GOOD


async def test_a_stored_key_cannot_be_sent_to_a_new_address(world: Any) -> None:
    """Who may write integrations does not thereby learn the keys in them."""
    id = (await world.add())["id"]
    for base_url in (f"{world.provider.url}/harvest", "https://attacker.example.com/v1"):
        refused = await world.admin.put(f"/api/integrations/{id}", json={"base_url": base_url})
        assert refused.status_code == 400
        assert list(refused.json()["error"]["details"]) == ["key"]
    assert world.provider.paths == ["/openai/models"]
    moved = await world.admin.put(
        f"/api/integrations/{id}", json={"base_url": f"{world.provider.url}/mine", "key": GOOD}
    )
    assert moved.status_code == 200
    assert world.provider.paths[-1] == "/mine/models"


async def test_a_stored_key_is_tried_again_on_demand(world: Any) -> None:
    id = (await world.add())["id"]
    world.provider.broken = 503
    untested = await world.admin.post(f"/api/integrations/{id}/test")
    assert (untested.status_code, untested.json()["tested"]) == (200, False)
    world.provider.broken = 401
    refused = await world.admin.post(f"/api/integrations/{id}/test")
    assert refused.status_code == 422
    assert list(refused.json()["error"]["details"]) == ["key"]
    assert not (await world.admin.get(f"/api/integrations/{id}")).json()["tested"]
    world.provider.broken = None
    assert (await world.admin.post(f"/api/integrations/{id}/test")).json()["tested"]


async def test_a_key_that_does_not_open_any_more_asks_to_be_set_again(world: Any) -> None:
    id = (await world.add())["id"]
    await world.databases.control.execute(
        "UPDATE provider_credentials SET sealed = sealed || '\\x00'::bytea WHERE id = $1::text::uuid", id
    )
    for response in (
        await world.admin.post(f"/api/integrations/{id}/test"),
        await world.admin.put(f"/api/integrations/{id}", json={}),
    ):
        assert response.status_code == 422
        assert "set it again" in response.json()["error"]["details"]["key"][0]
    mended = await world.admin.put(f"/api/integrations/{id}", json={"key": GOOD})
    assert mended.json()["tested"]


async def test_only_administrators_change_integrations_and_others_see_their_own(world: Any) -> None:
    id = (await world.add())["id"]
    for response in (
        await world.user.post("/api/integrations", json={"provider": "groq", "key": GOOD}),
        await world.user.put(f"/api/integrations/{id}", json={"key": GOOD}),
        await world.user.delete(f"/api/integrations/{id}"),
        await world.user.post(f"/api/integrations/{id}/test"),
    ):
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "PERMISSION_DENIED"
    assert (await world.user.get("/api/integrations")).json() == NONE
    assert (await world.user.get(f"/api/integrations/{id}")).status_code == 404
    await world.databases.control.execute(
        "UPDATE provider_credentials SET user_id = $2 WHERE id = $1::text::uuid", id, world.principals["user"].user_id
    )
    assert [one["id"] for one in (await world.user.get("/api/integrations")).json()["integrations"]] == [id]
    assert (await world.user.get(f"/api/integrations/{id}")).json()["id"] == id
    assert await world.stored_key() == GOOD


async def test_an_integration_of_another_tenant_is_not_there(world: Any) -> None:
    id = (await world.add())["id"]
    for response in (
        await world.stranger.get(f"/api/integrations/{id}"),
        await world.stranger.put(f"/api/integrations/{id}", json={"key": GOOD}),
        await world.stranger.post(f"/api/integrations/{id}/test"),
        await world.stranger.delete(f"/api/integrations/{id}"),
    ):
        assert response.status_code == 404
    assert await world.stored_key() == GOOD


@pytest.mark.parametrize("id", ["x", str(uuid7()), "%00", quote("' OR 1=1 --")])
async def test_an_id_that_is_none_is_not_found(world: Any, id: str) -> None:
    assert (await world.admin.get(f"/api/integrations/{id}")).status_code == 404
    assert (await world.admin.put(f"/api/integrations/{id}", json={})).status_code == 404
    assert (await world.admin.post(f"/api/integrations/{id}/test")).status_code == 404
    assert (await world.admin.delete(f"/api/integrations/{id}")).status_code == 404


async def test_a_deleted_key_is_gone(world: Any) -> None:
    id = (await world.add())["id"]
    deleted = await world.admin.delete(f"/api/integrations/{id}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await world.admin.delete(f"/api/integrations/{id}")).status_code == 404
    assert await world.stored_key() is None
    assert (await world.admin.get(f"/api/integrations/{id}")).status_code == 404
    await world.add()


async def test_no_response_and_no_log_line_ever_holds_a_key(world: Any) -> None:
    """Also where the provider's own words repeat it, and where the request is wrong beside it."""
    keys = [f"sk-{kind}-{number}-0123456789-secret" for kind in ("good", "refused") for number in range(8)]
    supply = itertools.cycle(keys)
    id = (await world.add(key=keys[0]))["id"]
    for status in (None, 302, 400, 401, 403, 404, 429, 500):
        world.provider.broken = status
        for provider in ("groq", "anthropic", "google", "perplexity", "nobody"):
            created = await world.post(provider, next(supply))
            if created.status_code == 201:
                await world.admin.delete(f"/api/integrations/{created.json()['id']}")
        await world.post("compatible", next(supply), base_url=f"{world.provider.url}/v1")
        await world.post("compatible", next(supply), base_url="https://10.0.0.1/v1")
        await world.post("openai", f"{next(supply)} with a space")
        await world.post("groq", next(supply), config={"api_key": next(supply)})
        await world.post("groq", next(supply), surprise=1)
        await world.admin.put(f"/api/integrations/{id}", json={"key": next(supply)})
        await world.admin.put(f"/api/integrations/{id}", json={"key": next(supply), "base_url": "ftp://x"})
        await world.admin.post(f"/api/integrations/{id}/test")
        await world.admin.get(f"/api/integrations/{id}")
        await world.admin.get("/api/integrations")
        await world.admin.post("/api/integrations", content=f'{{"key": "{next(supply)}", '.encode())
    await world.databases.control.execute("UPDATE provider_credentials SET provider = 'groq' WHERE id::text = $1", id)
    await world.credentials.refresh()
    assert any(key in keys for key in world.provider.keys), "the provider did see them"
    assert world.log.getvalue().count(b"\n") > 100
    assert "key does not open" in world.said
    for key in keys:
        assert key not in world.said
        assert key[:-5] not in world.said


async def test_short_keys_are_not_hinted_at(world: Any) -> None:
    assert (await world.add(key="sk-good-short"))["hint"] == "…"
    assert (await world.add("groq", key="no_prefix_at_all_good_1234"))["hint"] == "no_…1234"
    assert (await world.add("google", key="AIzaSyGood0123456789abcd"))["hint"] == "…abcd"


async def test_the_application_serves_them(api: Any) -> None:
    assert (await api.client.get("/api/integrations")).json() == NONE
    assert "/api/integrations/{id}/test" in (await api.client.get("/openapi.json")).json()["paths"]
