"""The page of settings is what the settings model says."""

from deployments.settings import ALIASES, Settings
from kit.settings import keys, variable_of
from serve_app import settings_docs


def test_the_page_is_up_to_date():
    written = settings_docs.FILE.read_text("utf-8")
    assert written == settings_docs.render(), "Renew it: python -m serve_app.settings_docs"


def test_every_key_is_listed_with_its_variables_and_a_meaning():
    rows = {}
    for line in settings_docs.render().splitlines():
        if line.startswith("| `"):
            key, *cells = (cell.strip() for cell in line.strip("|").replace("\\|", "/").split(" | "))
            rows[key.strip(" `")] = cells
    assert set(rows) == {key for key, _ in keys(Settings)}
    for key, (allowed, default, variables, meaning) in rows.items():
        assert f"`{variable_of(key)}`" in variables
        assert allowed
        assert default
        assert meaning.endswith("."), key
    assert all(f"`{alias}`" in rows[key][2] for alias, key in ALIASES.items())


def test_no_secret_has_a_default_that_could_be_printed():
    rows = [line for line in settings_docs.render().splitlines() if "secret text" in line]
    assert rows
    assert all("| none |" in row for row in rows)
