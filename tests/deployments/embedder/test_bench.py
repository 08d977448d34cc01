from pathlib import Path

import orjson
import pytest

from deployments.embedder import bench


def test_the_benchmark_puts_stage_and_bare_model_side_by_side(
    model_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bench", "--home", str(model_home), "--questions", "3", "--passages", "4", "--rounds", "1"]
    monkeypatch.setattr("sys.argv", [*arguments, "--json"])
    bench.main()
    (row,) = orjson.loads(capsys.readouterr().out)
    assert row["question_tokens"] == 17
    assert 110 <= row["passage_tokens"] <= 150
    assert row["share"] == pytest.approx(row["stage_passages"] / row["model_passages"])
    monkeypatch.setattr("sys.argv", arguments)
    bench.main()
    assert "passages/s" in capsys.readouterr().out
