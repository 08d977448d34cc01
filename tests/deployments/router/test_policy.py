from pathlib import Path

import pytest
import yaml

from deployments.provider_caller.catalogue import load_providers
from deployments.router.neighbours import load_examples
from deployments.router.policy import ROUTING, load_policy
from deployments.router.rules import OPERATIONS
from deployments.router.stage import EXAMPLES
from kit.errors import SetupError


def test_the_shipped_policy_names_only_models_that_exist() -> None:
    policy, providers = load_policy("default"), load_providers()
    for provider, model in {*policy.speed, *policy.quality, *sum(policy.operations.values(), ())}:
        if provider != "compatible":
            assert model in {entry.id for entry in providers[provider].models}


def test_the_shipped_examples_cover_every_operation() -> None:
    assert {example.operation for example in load_examples(EXAMPLES)} == set(OPERATIONS)


def test_the_version_changes_with_the_file(tmp_path: Path) -> None:
    text = (ROUTING / "default.yaml").read_text()
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(text + "\n# changed\n")
    assert load_policy("a", tmp_path).version == load_policy("default").version
    assert load_policy("b", tmp_path).version != load_policy("a", tmp_path).version


def test_an_unknown_policy_lists_the_known_ones() -> None:
    with pytest.raises(SetupError, match="default"):
        load_policy("defualt")


def test_everything_wrong_in_a_table_is_listed_at_once(tmp_path: Path) -> None:
    table = yaml.safe_load((ROUTING / "default.yaml").read_text())
    del table["operations"]["code"]
    table["operations"]["poetry"] = ["openai/gpt-6-luna"]
    table["speed"] = ["gpt-6-luna"]
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(table))
    with pytest.raises(SetupError) as caught:
        load_policy("bad", tmp_path)
    for word in ("operations.code is missing", "operations.poetry", "'gpt-6-luna' is not provider/model"):
        assert word in caught.value.message


@pytest.mark.parametrize("line", ["{", '{"text": "x"}', '{"text": "x", "operation": "poetry"}'])
def test_a_wrong_example_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "examples.jsonl"
    file.write_text(f'{{"text": "x", "operation": "code"}}\n{line}\n')
    with pytest.raises(SetupError, match=r"examples\.jsonl:2"):
        load_examples(file)
