import itertools
import shutil
from pathlib import Path

import pytest
import yaml

from deployments.provider_caller.catalogue import load_providers
from deployments.router.examples import EXAMPLES, load_examples
from deployments.router.policy import ROUTING, load_policy
from deployments.router.rules import OPERATIONS
from kit.errors import SetupError


def test_the_shipped_policy_names_only_models_that_exist() -> None:
    policy, providers = load_policy("default"), load_providers()
    lists = [list_ for entry in policy.operations.values() for list_ in (entry.models, entry.quality)]
    for provider, model in {*policy.speed, *itertools.chain(*lists)}:
        if provider != "compatible":
            assert model in {entry.id for entry in providers[provider].models}


def test_every_operation_has_fallbacks_of_another_provider() -> None:
    for entry in load_policy("default").operations.values():
        assert len({provider for provider, _ in entry.models}) >= 3


def test_only_exercises_need_an_instruction() -> None:
    instructions = {name: entry.instruction for name, entry in load_policy("default").operations.items()}
    assert [name for name, text in instructions.items() if text] == ["practice"]
    assert "exercises" in (instructions["practice"] or "")


def test_the_shipped_examples_cover_every_operation() -> None:
    assert {example.operation for example in load_examples(EXAMPLES)} == set(OPERATIONS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped folder."""
    return Path(shutil.copytree(ROUTING, tmp_path / "routing"))


def test_the_version_changes_with_the_file_and_with_its_prompts(folder: Path) -> None:
    shipped = load_policy("default").version
    assert load_policy("default", folder).version == shipped
    (folder / "prompts" / "practice.md").write_text("Be brief.")
    with_prompt = load_policy("default", folder).version
    (folder / "default.yaml").write_text((folder / "default.yaml").read_text() + "# changed\n")
    assert len({shipped, with_prompt, load_policy("default", folder).version}) == 3


def test_an_unknown_policy_lists_the_known_ones() -> None:
    with pytest.raises(SetupError, match="default"):
        load_policy("defualt")


def test_everything_wrong_in_a_table_is_listed_at_once(folder: Path) -> None:
    table = yaml.safe_load((folder / "default.yaml").read_text())
    del table["operations"]["code"]
    table["operations"]["poetry"] = table["operations"]["chat"]
    table["operations"]["factual"]["quality"] = ["/gpt-6-luna"]
    table["operations"]["practice"]["instruction"] = "gone"
    table["speed"] = ["gpt-6-luna"]
    (folder / "bad.yaml").write_text(yaml.safe_dump(table))
    with pytest.raises(SetupError) as caught:
        load_policy("bad", folder)
    for word in (
        "operations.code is missing",
        "operations.poetry is no",
        "speed: 'gpt-6-luna' is not provider/model",
        "factual.quality: '/gpt-6-luna' is not provider/model",
        "gone.md",
    ):
        assert word in caught.value.message


@pytest.mark.parametrize("line", ["{", '{"text": "x"}', '{"text": "x", "operation": "poetry"}'])
def test_a_wrong_example_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "examples.jsonl"
    file.write_text(f'{{"text": "x", "operation": "code"}}\n{line}\n')
    with pytest.raises(SetupError, match=r"examples\.jsonl:2"):
        load_examples(file)
