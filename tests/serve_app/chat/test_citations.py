from uuid import UUID

from deployments.protocols import Passage
from serve_app.chat.citations import citations_of
from serve_app.chat.prompt import CHARACTERS_PER_TOKEN, grounding, within_budget


def passage(number: int, text: str) -> Passage:
    return Passage(UUID(int=number), UUID(int=100 + number), f"Title {number}", f"{number}.md", "Part", text, 0.5)


PASSAGES = (passage(1, "Rain falls from clouds. Snow falls when it is cold."), passage(2, "Iron rusts in damp air."))


def test_markers_are_citations_in_the_order_of_their_first_use() -> None:
    found = citations_of("Iron rusts [2]. Snow needs cold [1], and again [2].", PASSAGES, None)
    assert [(c.number, c.quote) for c in found] == [
        (2, "Iron rusts in damp air."),
        (1, "Snow falls when it is cold."),
    ]


def test_markers_of_passages_that_were_not_given_are_no_citations() -> None:
    assert citations_of("As [3] and [0] say, and [12345].", PASSAGES, None) == []


def test_what_a_provider_states_counts_more_than_markers() -> None:
    stated = {"answered": True, "citations": [{"passage": 2, "text": "Iron rusts"}, {"passage": 9, "text": "?"}]}
    assert [(c.number, c.quote) for c in citations_of("[1]", PASSAGES, stated)] == [(2, "Iron rusts")]
    assert citations_of("[1]", PASSAGES, {"answered": False, "citations": []}) == []


def test_every_quote_stands_in_its_passage() -> None:
    for citation in citations_of("Clouds [1]! And iron?\n- rust [2]", PASSAGES, None):
        assert citation.quote in citation.passage.text


def test_passages_stay_within_the_budget_and_the_first_always_stays() -> None:
    long = passage(3, "x" * 10 * CHARACTERS_PER_TOKEN)
    assert within_budget((long, long, long), tokens=20) == (long, long)
    assert within_budget((long,), tokens=1) == (long,)


def test_the_prompt_numbers_the_passages() -> None:
    prompt = grounding(PASSAGES)
    assert "[1] Title 1, Part (1.md)\nRain falls" in prompt
    assert "[2] Title 2" in prompt
    assert "(none were found)" in grounding(())
