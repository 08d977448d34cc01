import json
from pathlib import Path

import pytest

from deployments.router.examples import load_examples
from deployments.router.rules import OPERATIONS
from pipelines.evaluation.routing import FILE, main

DATA = Path(__file__).parents[1] / "data"


def test_accuracy_is_told_by_part_and_operation(capsys: pytest.CaptureFixture[str], model_home: Path) -> None:
    assert main(["--dataset", str(DATA), "--home", str(model_home), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {name: part["questions"] for name, part in report["parts"].items()} == {
        "development": 200,
        "held_out": 200,
        "all": 400,
    }
    for part in report["parts"].values():
        assert part["accuracy"] >= 0.9
        assert set(part["by_operation"]) == set(OPERATIONS)
        assert sum(part["confusions"].values()) == round(part["questions"] * (1 - part["accuracy"]))
    assert report["examples"] == len(load_examples())


def test_a_table_is_for_people(capsys: pytest.CaptureFixture[str], model_home: Path, tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_text('{"text": "Quiz me on knots", "operation": "practice"}\n')
    assert main(["--dataset", str(file), "--home", str(model_home)]) == 0
    shown = capsys.readouterr().out
    assert "practice" in shown
    assert "100.0%" in shown


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 1: no labelled question"),
        ('{"text": "x", "operation": "poetry"}', "'poetry' is no operation type"),
        (json.dumps({"text": load_examples()[0].text.upper(), "operation": "code"}), "examples contain this question"),
        ("", "is empty"),
    ],
)
def test_a_data_set_that_cannot_be_used_is_refused(
    capsys: pytest.CaptureFixture[str], model_home: Path, tmp_path: Path, line: str, problem: str
) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(f"{line}\n")
    assert main(["--dataset", str(file), "--home", str(model_home)]) == 2
    assert problem in capsys.readouterr().err.replace("\n", " ")


def test_a_missing_file_says_what_to_give(capsys: pytest.CaptureFixture[str], model_home: Path, tmp_path: Path) -> None:
    assert main(["--dataset", str(tmp_path / "gone"), "--home", str(model_home)]) == 2
    assert FILE in capsys.readouterr().err
