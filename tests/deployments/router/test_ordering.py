from dataclasses import dataclass, replace

from deployments.provider_caller.prices import Price
from deployments.router.offers import Offer
from deployments.router.ordering import Speeds, by_cost, by_ranking, by_speed, matching
from deployments.router.policy import TokenMix

MIX = TokenMix(input=100, output=200)


@dataclass(frozen=True)
class Seen:
    count: int = 100
    first_token_p50: float | None = None
    total_p50: float | None = None
    tokens_per_second: float | None = None


def offer(model: str, input: int | None = 1, output: int | None = 1, *, available: bool = True) -> Offer:
    price = None if input is None else Price.model_validate({"from": "2026-01-01", "input": input, "output": output})
    return Offer("p", "P", model, available, price=price)


def names(offers: list[Offer]) -> list[str]:
    return [offer.model for offer in offers]


def speeds(**seen: Seen) -> Speeds:
    return {("p", model): speed for model, speed in seen.items()}


OFFERS = [offer("a"), offer("b"), offer("c")]


def test_cost_is_that_of_the_typical_request_and_not_of_one_token() -> None:
    offers = [offer("cheap to read", 1, 9), offer("cheap to write", 5, 2)]
    assert names(by_cost(offers, MIX)) == ["cheap to write", "cheap to read"]
    assert names(by_cost(offers, TokenMix(input=1000, output=10))) == ["cheap to read", "cheap to write"]


def test_a_fee_for_each_request_counts() -> None:
    fee = Price.model_validate({"from": "2026-01-01", "input": 1, "output": 1, "request": 10**6})
    assert names(by_cost([replace(offer("searches"), price=fee), offer("dear", 9, 9)], MIX)) == ["dear", "searches"]


def test_an_unknown_price_comes_last() -> None:
    assert names(by_cost([offer("x", None, None), offer("y", 10**6, 10**6)], MIX)) == ["y", "x"]


def test_speed_is_the_first_token_and_then_the_typical_answer() -> None:
    seen = speeds(
        a=Seen(first_token_p50=0.1, tokens_per_second=50, total_p50=1.0),
        b=Seen(first_token_p50=0.5, tokens_per_second=400, total_p50=2.0),
        c=Seen(total_p50=3.0),
    )
    # 0.1 + 200/50 = 4.1; 0.5 + 200/400 = 1.0; where nothing was streamed, the whole call counts: 3.0
    assert names(by_speed(OFFERS, MIX, seen)) == ["b", "c", "a"]


def test_a_model_of_which_little_is_known_keeps_its_place() -> None:
    seen = speeds(a=Seen(total_p50=3), c=Seen(total_p50=1), b=Seen(count=3, total_p50=0.1))
    assert names(by_speed(OFFERS, MIX, seen)) == ["c", "b", "a"]
    assert names(by_speed(OFFERS, MIX, {})) == ["a", "b", "c"]


def test_a_ranking_comes_before_the_rest() -> None:
    assert names(by_ranking(OFFERS, [("p", "c"), ("q", "a"), ("p", "gone")])) == ["c", "a", "b"]


def test_entries_name_available_offers_each_once() -> None:
    offers = [offer("a"), offer("b", available=False), offer("c")]
    assert names(matching([("p", "c"), ("p", "*"), ("q", "*"), ("p", "b")], offers)) == ["c", "a"]
