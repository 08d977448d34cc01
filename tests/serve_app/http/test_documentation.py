import re
from typing import Any


async def test_the_documentation_page_needs_no_key_and_nothing_from_elsewhere(api: Any) -> None:
    page = (await api.client.get("/docs", headers={"authorization": ""})).text
    referenced = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(referenced) == 3
    for url in referenced:
        assert url.startswith("/docs/assets/")
        assert (await api.client.get(url, headers={"authorization": ""})).status_code == 200


async def test_what_is_not_an_asset_is_a_404_in_our_shape(api: Any) -> None:
    for path in ("/docs/assets/none.js", "/docs/assets/%2e%2e/core.py"):
        response = await api.client.get(path)
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "NOT_FOUND"
