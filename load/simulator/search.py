"""The web search of Perplexity's models: always the same two pages."""

from typing import Any

QUERY = "water wheel"
_PAGES = (("https://example.com/turbines", "Turbines"), ("https://example.org/penstocks", "Penstocks"))


def urls() -> list[str]:
    """The pages' addresses, as Sonar's `citations`."""
    return [url for url, _ in _PAGES]


def results() -> list[dict[str, Any]]:
    """As Sonar's `search_results`."""
    return [{"title": title, "url": url, "date": "2026-01-02", "last_updated": "2026-02-03"} for url, title in _PAGES]


def output_item() -> dict[str, Any]:
    """As an output item of the Agent API."""
    found = [
        {"id": number, "url": url, "title": title, "snippet": f"About {title.lower()}.", "source": "web"}
        for number, (url, title) in enumerate(_PAGES, start=1)
    ]
    return {"type": "search_results", "queries": [QUERY], "results": found}
