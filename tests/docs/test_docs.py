"""What the documentation names exists, and its examples are valid."""

import json
import re
import shlex
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from deployments.settings import ALIASES, RESERVED, Settings, load_settings
from kit.settings import keys, load, variable_of
from serve_app.cli import app
from tests.docs.pages import PAGES, ROOT, Block, blocks, blocks_of, inline_code_of, prose_of, text_of

FOLDERS = ("kit", "deployments", "pipelines", "serve_app", "configs", "load", "samples", "docs", "tests", "scripts")
each_page = pytest.mark.parametrize("page", PAGES, ids=str)


def each(found: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", found, ids=str)


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            wrong.append(target)
    assert not wrong


def anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_paths_exist(page: Path) -> None:
    """Paths in code spans that begin with one of our folders; words in capitals and <words> stand for anything."""
    named = [span for span in inline_code_of(page) if re.fullmatch(rf"(?:{'|'.join(FOLDERS)})/[\w./<>*-]*", span)]
    missing = [path for path in named if not (ROOT / path).exists() and not any(ROOT.glob(as_pattern(path)))]
    assert not missing


def as_pattern(path: str) -> str:
    return re.sub(r"<[^>]+>|\b[A-Z]{3,}\b", "*", path).rstrip("/")


def test_every_page_can_be_reached_from_the_index() -> None:
    reached = {ROOT / "README.md"}
    pending = [ROOT / "README.md"]
    while pending:
        page = pending.pop()
        for target in re.findall(r"\]\(([^)\s#]+\.md)", page.read_text("utf-8")):
            file = (page.parent / target).resolve()
            if file.exists() and file not in reached:
                reached.add(file)
                pending.append(file)
    assert {ROOT / page for page in PAGES} <= reached


@each_page
def test_commands_exist_with_their_options(page: Path) -> None:
    wrong = []
    for words in penstock_commands(page):
        command: Any = typer.main.get_command(app)
        while words and hasattr(command, "commands"):
            name = words.pop(0)
            if name in ("|", "--help"):
                break
            found = command.commands.get(name)
            if found is None:
                wrong.append(f"penstock {name}")
                break
            command = found
        known = {"--help"} | {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
        wrong += [f"{command.name} {word}" for word in words if word.startswith("--") and word not in known]
    assert not wrong


def penstock_commands(page: Path) -> list[list[str]]:
    """The words after `penstock`, where it is called: in code spans that begin with it, and in blocks."""
    spans = [span for span in inline_code_of(page) if span.startswith("penstock ")]
    lines = [line for block in blocks_of(page) for line in block.text.splitlines() if block.language in ("bash", "")]
    calls = [match for line in lines for match in re.findall(r"(?:^|\$\()penstock [^)|;#]*", line)]
    return [words_of(call.removeprefix("$(").removeprefix("penstock ")) for call in spans + calls]


def words_of(command: str) -> list[str]:
    return shlex.split(re.sub(r"[\[\]…]", " ", command), comments=True)


@each_page
def test_make_targets_exist(page: Path) -> None:
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    code = inline_code_of(page) + [line for block in blocks_of(page) for line in block.text.splitlines()]
    named = {match[1] for span in code if (match := re.match(r"make ([a-z]+)", span))}
    assert named <= known


@each_page
def test_modules_that_are_run_exist(page: Path) -> None:
    named = set(re.findall(rf"python -m ((?:{'|'.join(FOLDERS)})[\w.]*)", text_of(page)))
    assert all(find_spec(name) for name in named)


@each_page
def test_environment_variables_are_settings(page: Path) -> None:
    known = {variable_of(key) for key, _ in keys(Settings)} | set(ALIASES) | set(RESERVED) | {"PENSTOCK_"}
    assert set(re.findall(r"\bPENSTOCK_[A-Z_]*", text_of(page))) <= known


@each_page
def test_dotted_keys_are_settings(page: Path) -> None:
    """Code spans such as `cache.ttl` whose first part is a section."""
    known = {key for key, _ in keys(Settings)}
    sections = {key.split(".")[0] for key in known if "." in key}
    parents = {key.rpartition(".")[0] for key in known}
    spans = [span.split(":")[0] for span in inline_code_of(page) if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+(: .*)?", span)]
    named = {span for span in spans if span.split(".")[0] in sections and not (span.endswith((".py", ".log", ".yaml")))}
    assert named <= known | parents


@each(blocks("bash"))
def test_shell_examples_parse(block: Block) -> None:
    result = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@each(blocks("python"))
def test_python_examples_parse(block: Block) -> None:
    compile(block.text, str(block), "exec")


@each(blocks("json"))
def test_json_examples_parse_where_nothing_is_left_out(block: Block) -> None:
    json.loads(re.sub(r"\[…\]|…", lambda match: "[]" if match[0] == "[…]" else "", block.text))


@each(blocks("yaml", "dotenv", mark="settings"))
def test_settings_in_examples_are_valid(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "example"
    file.write_text(block.text)
    if block.language == "yaml":
        assert yaml.safe_load(block.text)
        load(Settings, file=file, environ={}, dotenv=None, aliases=ALIASES)
    else:
        load_settings({}, dotenv=file)


def test_the_template_of_env_is_valid_with_every_line_in_use(tmp_path: Path) -> None:
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    settings = [line.removeprefix("# ") for line in lines if re.match(r"# [A-Z_]+=", line)]
    assert len(settings) > 5
    file = tmp_path / "env"
    file.write_text("\n".join(settings))
    load_settings({}, dotenv=file)


def test_every_decision_is_in_the_index_under_its_title() -> None:
    index = text_of(Path("docs/decisions/README.md"))
    pages = sorted(path for path in (ROOT / "docs/decisions").glob("0*.md"))
    assert [int(path.name[:4]) for path in pages] == list(range(1, len(pages) + 1))
    for number, path in enumerate(pages, 1):
        assert f"[{number}]({path.name})" in index
        assert path.read_text("utf-8").startswith(f"# {number}. ")


def test_the_readme_names_the_two_commands() -> None:
    commands = [block.text.strip() for block in blocks_of(Path("README.md")) if block.language == "bash"]
    assert commands[:2] == ["make up", "make test"]
