from typing import Any

from load.compare.gateways import Gateway
from load.compare.measure import LOADS, added, with_direct
from load.compare.report import PLAIN, PLAIN_ALONE, STREAM, judged


def cell(rate: float, p50: float) -> dict[str, Any]:
    latency = {"p50": p50, "p95": p50, "p99": 2 * p50, "max": p50}
    return {"requests_per_second": rate, "latency_ms": latency, "errors": {}}


def figures(**cells: tuple[float, float]) -> dict[str, Any]:
    found = {name.replace("_", " "): {load.name: cell(*values) for load in LOADS} for name, values in cells.items()}
    added(found)
    return found


def test_added_latency_is_what_the_direct_way_does_not_take() -> None:
    found = figures(direct=(1000, 1.0), litellm=(100, 6.0))
    assert found["litellm"][PLAIN_ALONE]["added_ms"] == {"p50": 5.0, "p99": 10.0}
    assert found["direct"][PLAIN_ALONE]["added_ms"] == {"p50": 0.0, "p99": 0.0}


def test_a_rate_must_reach_its_floor_and_added_latency_stay_under_it() -> None:
    found = judged(figures(direct=(1000, 1.0), litellm=(100, 6.0), penstock_local=(500, 4.0)))
    by_what = {ratio["what"]: ratio for ratio in found}
    assert by_what[f"requests/s, {PLAIN}"]["met"] is True
    assert by_what[f"added p50, {PLAIN_ALONE}"]["ratio"] == 0.6
    assert by_what[f"added p50, {PLAIN_ALONE}"]["met"] is False
    assert by_what[f"streams/s, {STREAM}"]["met"] is False


def test_what_was_not_measured_is_not_judged() -> None:
    assert judged(figures(direct=(1000, 1.0), penstock_local=(500, 4.0))) == []


def test_every_request_is_new_and_streams_say_so() -> None:
    assert all("@SERIAL@" in load.body for load in LOADS)
    assert [load.stream for load in LOADS] == ['"stream":true' in load.body for load in LOADS]


def test_the_direct_way_comes_first() -> None:
    gateway = Gateway("litellm", "http://127.0.0.1:1/v1", {}, "")
    assert [each.name for each in with_direct("http://127.0.0.1:2", [gateway])] == ["direct", "litellm"]
