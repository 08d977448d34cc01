import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console

from load.bench_routing import AUTOMATIC, ONE_MODEL, SHUFFLED, environment, main, report
from load.routing_day import (
    ANSWER_TOKENS,
    Call,
    Question,
    judged,
    load_day,
    saving,
    shares,
    shuffled,
    summary,
    usual_models,
)
from load.routing_replay import Ask, Asker, Replay
from load.routing_report import show, write_json, write_plot
from load.simulator.process import SimulatorProcess

ROOT = Path(__file__).parents[2]


def call(text: str, seconds: float, cost: float | None = 1.0, *, model: str = "m", operation: str = "code") -> Call:
    return Call(Question(text, operation), 0, "p", model, seconds, cost)


def test_the_day_has_its_shares_and_no_question_that_the_router_has_seen() -> None:
    day = load_day()
    assert shares(day) == {"factual": 0.40, "code": 0.25, "practice": 0.15, "reasoning": 0.12, "research": 0.08}
    seen = [
        json.loads(line)["text"].lower()
        for file in ("configs/routing/examples.jsonl", "tests/data/routing_labelled.jsonl")
        for line in (ROOT / file).read_text().splitlines()
    ]
    assert not {question.text.lower() for question in day} & set(seen)


@pytest.mark.parametrize("line", ["{", '{"text": "x"}', '{"text": "x", "operation": "poetry"}'])
def test_a_wrong_line_of_a_day_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "day.jsonl"
    file.write_text('{"text": "x", "operation": "code"}\n' + line)
    with pytest.raises(ValueError, match="line 2"):
        load_day(file)


def test_a_saving_is_of_the_means_over_the_same_questions() -> None:
    mine = [call("a", 1.0, 2.0), call("b", 3.0, 1.0), call("only mine", 99.0)]
    others = [call("b", 6.0, 4.0), call("a", 2.0, 4.0)]
    saved = saving(mine, others)
    assert saved["latency"]["value"] == pytest.approx(0.5)
    assert saved["cost"]["value"] == pytest.approx(1 - 3 / 8)
    assert saved["latency"]["calls"] == 2
    assert saved["latency"]["low"] == pytest.approx(0.5), "both halve, so every resample does"


def test_a_cost_that_one_of_the_two_does_not_know_counts_for_neither() -> None:
    saved = saving([call("a", 1, None), call("b", 1, 1.0)], [call("a", 1, 9.0), call("b", 1, 4.0)])
    assert saved["cost"] == pytest.approx({"value": 0.75, "low": 0.75, "high": 0.75, "calls": 1})
    assert saving([call("a", 1, None)], [call("a", 1, 1.0)])["cost"]["value"] is None


def test_nothing_in_common_is_no_saving() -> None:
    with pytest.raises(ValueError, match="both systems"):
        saving([call("a", 1)], [call("b", 1)])


def test_the_interval_holds_the_true_saving_in_most_days() -> None:
    source, held = np.random.default_rng(1), 0
    for seed in range(60):
        pairs = [(str(n), source.lognormal(0, 0.6), source.lognormal(1, 0.6)) for n in range(80)]
        saved = saving([call(n, a) for n, a, _ in pairs], [call(n, b) for n, _, b in pairs], seed=seed)["latency"]
        held += saved["low"] <= 1 - np.exp(-1) <= saved["high"]
    assert held >= 52, "95 % of 60 are 57"


def test_rounds_of_a_question_are_one_observation() -> None:
    once = [call("a", 1), call("b", 4)], [call("a", 4), call("b", 4)]
    mine, others = ([replace(one, round=n) for n in range(50) for one in calls] for calls in once)
    apart, together = saving(*once)["latency"], saving(mine, others)["latency"]
    assert (together["low"], together["high"]) == (apart["low"], apart["high"])


def test_shuffling_keeps_the_models_and_moves_them() -> None:
    calls = [call(str(n), 1, model=f"m{n % 3}") for n in range(60)]
    dealt = shuffled(calls, random.Random(1))
    assert Counter(model for _, _, model in dealt) == Counter(one.named for one in calls)
    assert [question for question, _, _ in dealt] == [one.question for one in calls]
    assert [model for _, _, model in dealt] != [one.named for one in calls]


def test_a_system_is_summed_up() -> None:
    calls = [call(str(n), n, 0.5 if n % 2 else None, model="big" if n < 8 else "small") for n in range(1, 11)]
    usual = usual_models(calls)
    assert usual == {"code": "p/big"}
    found = summary(calls, usual)
    assert found["seconds"] == {"mean": 5.5, "p50": 5, "p95": 10}
    assert (found["cost_usd"], found["unpriced"], found["suited"]) == (2.5, 5, 0.7)
    assert found["models"] == {"p/big": 7, "p/small": 3}


def test_targets_are_met_from_their_limit_on() -> None:
    verdicts = judged({"latency": {"value": 0.52}, "cost": {"value": 0.40}})
    assert [verdict["met"] for verdict in verdicts] == [True, False]
    assert not judged({"latency": {"value": 1}, "cost": {"value": None}})[1]["met"]


@pytest.fixture
async def product() -> AsyncIterator[Any]:
    """Answers as the product does: `auto` by the question's first word."""
    seen: list[dict[str, Any]] = []

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        seen.append(body | {"key": request.headers["authorization"]})
        if "fail" in body["messages"][0]["content"]:
            return web.json_response({"error": {"message": "no"}}, status=503)
        provider, _, model = ("fast/small" if body["model"] == "auto" else body["model"]).partition("/")
        headers = {"x-penstock-provider": provider, "x-penstock-model": model, "x-penstock-route-reason": "Named."}
        if provider == "fast":
            headers |= {"x-penstock-cost-usd": "0.0010"}
        if "odd" in body["messages"][0]["content"]:
            headers["x-penstock-route-reason"] += " big failed, so a fallback answers: it was down."
        return web.json_response({}, headers=headers)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("/")), seen


async def test_a_replay_asks_each_question_and_reads_the_headers(product: Any) -> None:
    url, seen = product
    asker = Asker(url, "k", connections=3, time_scale=0.5)
    texts = ("one", "odd", "fail")
    asks = [
        Ask(system, model, Question(text, "factual"), 0)
        for system, model in ((AUTOMATIC, "auto"), (ONE_MODEL, "slow/big"))
        for text in texts
    ]
    done: list[None] = []
    found = await asker.replay(asks, random.Random(1), lambda: done.append(None))
    assert len(done) == len(seen) == 6
    assert {body["max_completion_tokens"] for body in seen} == {ANSWER_TOKENS["factual"]}
    assert {body["key"] for body in seen} == {"Bearer k"}
    assert all(body["penstock"] == {"cache": False} for body in seen)
    assert found.errors == {f"{name}: status 503: no": 1 for name in (AUTOMATIC, ONE_MODEL)}
    by_text = {one.question.text: one for one in found.calls[AUTOMATIC]}
    assert (by_text["one"].named, by_text["one"].cost, by_text["one"].fallback) == ("fast/small", 0.001, False)
    assert by_text["odd"].fallback
    assert [one.cost for one in found.calls[ONE_MODEL]] == [None, None]


def options(**changed: Any) -> Any:
    return type("Options", (), {"rounds": 1, "time_scale": 0.1, "baseline": "p/big"} | changed)()


@pytest.fixture
def whole() -> dict[str, Any]:
    questions = [Question(str(n), "code") for n in range(20)]
    fast = [Call(question, 0, "p", "small", 1.0, 0.001) for question in questions]
    slow = [Call(question, 0, "p", "big", 4.0, 0.01) for question in questions]
    slow[0] = replace(slow[0], fallback=True)
    calls = {AUTOMATIC: fast, ONE_MODEL: slow, SHUFFLED: fast}
    return report(Replay(calls, {"automatic: status 500": 2}), questions, options())


def test_a_report_says_what_was_saved_and_what_went_wrong(whole: dict[str, Any], tmp_path: Path) -> None:
    assert [target["met"] for target in whole["targets"]] == [True, True]
    assert whole["savings"][AUTOMATIC]["latency"]["value"] == pytest.approx(0.75)
    assert whole["problems"] == ["automatic: status 500 (2 times)", "one model: 1 answers are of a fallback"]
    write_json(whole, tmp_path / "out" / "report.json")
    assert json.loads((tmp_path / "out" / "report.json").read_text())["day"] == {"code": 1.0}
    shown = StringIO()
    show(whole, Console(file=shown, width=140))
    for words in ("75.0% (75.0% to 75.0%)", "90.0%", "met", "status 500", "small 20"):
        assert words in shown.getvalue()


def test_a_plot_is_written(whole: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_plot(whole, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_system_without_answers_is_an_error() -> None:
    with pytest.raises(ValueError, match="one model, shuffled: it burns"):
        report(Replay({AUTOMATIC: [call("a", 1)]}, {"it burns": 1}), [Question("a", "code")], options())


def test_every_provider_of_the_product_is_the_simulator() -> None:
    settings = environment(SimulatorProcess("http://127.0.0.1:9"))
    addresses = json.loads(settings["PENSTOCK_PROVIDER_CALLER__BASE_URLS"])
    assert set(addresses) == {"openai", "anthropic", "groq", "google", "perplexity"}
    assert all(address.startswith("http://127.0.0.1:9/") for address in addresses.values())


@pytest.mark.parametrize(
    "wrong",
    [
        ["--rounds", "0"],
        ["--time-scale", "0"],
        ["--url", "http://127.0.0.1:1"],
        ["--url", "http://example.org", "--key", "k"],
    ],
)
def test_wrong_arguments_end_with_exit_code_2(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
