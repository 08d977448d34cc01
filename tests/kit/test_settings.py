"""Settings: everything that is wrong is listed at once, with where it was set and what is allowed."""

import base64
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from deployments.settings import ALIASES, CONFIGS, ENVIRONMENTS, RESERVED, Settings, load_settings, with_dotenv
from kit.settings import PREFIX, SettingsError, keys, load, variable_of

KEYS = dict(keys(Settings))
VARIABLES = {variable_of(key) for key in KEYS} | set(RESERVED)


def read(environ: dict[str, str] | None = None, *, file: Path | None = None, dotenv: Path | None = None) -> Settings:
    return load(Settings, file=file, environ=environ or {}, dotenv=dotenv, aliases=ALIASES, reserved=RESERVED)


def problems(environ: dict[str, str] | None = None, **sources: Path) -> list[str]:
    with pytest.raises(SettingsError) as error:
        read(environ, **sources)
    return error.value.problems


def value(settings: Settings, key: str) -> object:
    found: object = settings
    for part in key.split("."):
        found = getattr(found, part)
    return found.get_secret_value() if isinstance(found, SecretStr) else found


def test_nothing_set_gives_the_defaults() -> None:
    assert read() == Settings()


def test_every_problem_of_every_source_is_listed_at_once(tmp_path: Path) -> None:
    file, dotenv = tmp_path / "mine.yaml", tmp_path / ".env"
    file.write_text("server: {port: 70000, prot: 1}\nloglevel: INFO\n")
    dotenv.write_text("PENSTOCK_CACHE__TLL=5\nLOG_LEVEL=loud\n")
    found = problems({"PENSTOCK_SERVER__PROFILE": "huge", "PENSTOCK_NONSENSE": "1"}, file=file, dotenv=dotenv)
    expected = [
        ("server.port", "mine.yaml", "65535", "70000"),
        ("server.prot", "mine.yaml", "no such setting", "server.port"),
        ("loglevel", "mine.yaml", "no such setting", "log_level"),
        ("PENSTOCK_CACHE__TLL", ".env", "no such setting", "PENSTOCK_CACHE__TTL"),
        ("log_level", "LOG_LEVEL in .env", "'INFO'", "'loud'"),
        ("server.profile", "PENSTOCK_SERVER__PROFILE in environment", "'local', 'inline' or 'cluster'", "'huge'"),
        ("PENSTOCK_NONSENSE", "environment", "no such setting", ""),
    ]
    assert len(found) == len(expected)
    for parts in expected:
        assert any(all(part in problem for part in parts) for problem in found), (parts, found)


def test_the_error_names_all_problems_and_crosses_processes() -> None:
    error = SettingsError(["one", "two"])
    again = pickle.loads(pickle.dumps(error))
    assert again.problems == ["one", "two"]
    assert "  - one\n  - two" in again.message


FORMS = {"encryption.keys": base64.b64encode(b"s3cret" + bytes(26)).decode()}
"""Secrets that must have a form of their own."""


@pytest.mark.parametrize(
    "key", [key for key, field in KEYS.items() if field.annotation in (SecretStr, SecretStr | None)]
)
def test_a_secret_is_taken_from_the_environment_only(tmp_path: Path, key: str) -> None:
    file = tmp_path / "mine.yaml"
    secret = FORMS.get(key, "s3cret")
    section = secret
    for part in reversed(key.split(".")):
        section = {part: section}  # type: ignore[assignment]
    file.write_text(str(section))
    (problem,) = problems(file=file)
    assert variable_of(key) in problem
    assert secret not in problem
    assert value(read({variable_of(key): secret}), key) == secret


def test_secrets_are_not_shown() -> None:
    settings = read({"OPENAI_API_KEY": "sk-hush", "DATABASE_URL": "postgresql://u:hush@h/d"})
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings.model_dump())


def test_later_sources_win(tmp_path: Path) -> None:
    file, dotenv = tmp_path / "mine.yaml", tmp_path / ".env"
    file.write_text("server: {port: 1, host: yaml, request_timeout: 9}\n")
    dotenv.write_text("PENSTOCK_SERVER__PORT=2\nPENSTOCK_SERVER__HOST=dotenv\n")
    server = read({"PENSTOCK_SERVER__PORT": "3"}, file=file, dotenv=dotenv).server
    assert (server.port, server.host, server.request_timeout) == (3, "dotenv", 9)


@pytest.mark.parametrize("alias", ["REDIS_URL", "DATABASE_URL", "MAX_WORKERS"])
def test_our_own_name_wins_over_a_well_known_one(alias: str) -> None:
    """Another program may set the well-known name for itself."""
    key = ALIASES[alias]
    assert str(value(read({alias: "7", variable_of(key): "8"}), key)) == "8"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert read({"DATABASE_URL": "", "PENSTOCK_SERVER__PORT": ""}) == Settings()


def test_dollars_in_a_dotenv_file_are_kept(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("OPENAI_API_KEY='a${HOME}b'\n")
    assert value(read(dotenv=dotenv), "provider_caller.keys.openai") == "a${HOME}b"


GIVEN = {
    "ENVIRONMENT": ("staging", "staging"),
    "DEBUG": ("true", True),
    "LOG_LEVEL": ("WARNING", "WARNING"),
    "DATABASE_URL": ("postgresql://h/d", "postgresql://h/d"),
    "REDIS_URL": ("redis://h", "redis://h"),
    "OPENAI_API_KEY": ("k1", "k1"),
    "ANTHROPIC_API_KEY": ("k2", "k2"),
    "GROQ_API_KEY": ("k3", "k3"),
    "PERPLEXITY_API_KEY": ("k4", "k4"),
    "GOOGLE_API_KEY": ("k5", "k5"),
    "USE_LOCAL_EMBEDDINGS": ("false", False),
    "RAG_ENABLED": ("0", False),
    "CACHE_TTL": ("60", 60),
    "MAX_WORKERS": ("3", 3),
    "REQUEST_TIMEOUT": ("12.5", 12.5),
}


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_each_well_known_variable_sets_its_key(alias: str) -> None:
    raw, parsed = GIVEN[alias]
    assert value(load_settings({alias: raw}, dotenv=None), ALIASES[alias]) == parsed


@pytest.mark.parametrize(("raw", "parsed"), [("a,b", ["a", "b"]), ('["a","b"]', ["a", "b"]), (" a , ", ["a"])])
def test_lists_come_as_json_or_as_words(raw: str, parsed: list[str]) -> None:
    assert read({"PENSTOCK_SERVER__CORS_ORIGINS": raw}).server.cors_origins == parsed


@given(st.text(st.characters(codec="ascii", categories=["Lu", "Nd"], include_characters="_"), max_size=40))
def test_any_unknown_variable_of_ours_is_reported(name: str) -> None:
    variable = PREFIX + name
    if variable in VARIABLES:
        return
    (problem,) = problems({variable: "anything"})
    assert problem.startswith(f"{variable} (environment): no such setting.")


@given(st.sampled_from(sorted(KEYS)), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))
def test_any_text_is_a_setting_or_one_problem_that_names_it(key: str, raw: str) -> None:
    found: list[str] = []
    try:
        read({variable_of(key): raw})
    except SettingsError as error:
        found = error.problems or ["an error without a problem"]
    assert all(problem.startswith(key) for problem in found)


@pytest.mark.parametrize("text", ["server: [", "- a", "just words", "server: 3", "server: null"])
def test_a_file_that_is_no_mapping_is_a_problem_of_its_own(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    assert all("mine.yaml" in problem for problem in problems(file=file))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (problem,) = problems(file=tmp_path / "gone.yaml")
    assert "gone.yaml" in problem


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_file_of_every_environment_is_valid(environment: str) -> None:
    assert load_settings({"ENVIRONMENT": environment}, dotenv=None).environment == environment
    assert (CONFIGS / "environments" / f"{environment}.yaml").is_file()


def test_the_environment_named_in_a_dotenv_file_is_the_one_that_is_loaded(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("ENVIRONMENT=production\n")
    assert load_settings({}, dotenv=dotenv) == load_settings({"ENVIRONMENT": "production"}, dotenv=None)


def test_a_wrong_environment_does_not_hide_what_else_is_wrong() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({"ENVIRONMENT": "prod", "PENSTOCK_SERVER__PORT": "none"}, dotenv=None)
    assert any("'production'" in problem and "'prod'" in problem for problem in error.value.problems)
    assert any("server.port" in problem for problem in error.value.problems)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"CACHE_TTL": "5"},
        {"PENSTOCK_CACHE__TTL": "6"},
        {"CACHE_TTL": "", "REDIS_URL": ""},
        {"ENVIRONMENT": "staging"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "lines", ["", "CACHE_TTL=7", "PENSTOCK_CACHE__TTL=8", "CACHE_TTL=9\nPENSTOCK_CACHE__TTL=10\nENVIRONMENT=production"]
)
def test_a_process_that_is_given_the_file_as_variables_reads_the_same(
    environ: dict[str, str], lines: str, tmp_path: Path
) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(lines + "\nREDIS_URL='redis://:se${HOME}cret@h'\nUNRELATED=1\n")
    variables = with_dotenv(environ, dotenv)
    assert load_settings(variables, dotenv=None) == load_settings(environ, dotenv=dotenv)
    assert "UNRELATED" not in variables
