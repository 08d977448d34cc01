import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import SetupError
from pipelines.evaluate import main
from pipelines.evaluation.dataset import load_dataset, load_questions
from pipelines.evaluation.metrics import hit, holds_answer, ndcg, quantile, recall, reciprocal_rank

CORPUS = {
    "moon": "The Moon pulls the water of the oceans. The tides follow the Moon twice a day.",
    "leaf": "Leaves make sugar from light. Chlorophyll, the green pigment, catches the light.",
    "iron": "Iron rusts in damp air. Galvanised steel is covered with zinc.",
    "bread": "Yeast makes dough rise. It gives off carbon dioxide.",
}
QUERIES = [
    ("1", "Which pigment catches light in leaves?", "leaf", ["Chlorophyll"]),
    ("2", "What metal covers galvanised steel?", "iron", ["zinc"]),
    ("3", "What gas does yeast give off?", "bread", ["carbon dioxide"]),
]


def write(folder: Path, *, answers: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    corpus = [{"_id": key, "title": key.title(), "text": text} for key, text in CORPUS.items()]
    queries = [{"_id": key, "text": text, **({"answers": right} if answers else {})} for key, text, _, right in QUERIES]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    lines = ["query-id\tcorpus-id\tscore", *(f"{key}\t{document}\t1" for key, _, document, _ in QUERIES)]
    (folder / "qrels.tsv").write_text("\n".join(lines) + "\n")
    return folder


def evaluate(capsys: pytest.CaptureFixture[str], home: Path, dataset: Path, *more: str) -> dict:
    assert main(["retrieval", "--dataset", str(dataset), "--home", str(home), "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_small_data_set_is_ranked_and_answered(
    capsys: pytest.CaptureFixture[str], model_home: Path, tmp_path: Path
) -> None:
    unanswerable = tmp_path / "unanswerable.jsonl"
    unanswerable.write_text('{"question": "Which airline flies from Lima to Cusco?"}\n')
    report = evaluate(capsys, model_home, write(tmp_path / "small"), "--unanswerable", str(unanswerable))
    assert (report["documents"], report["queries"]) == (4, 3)
    assert set(report["rankings"]) == {"bm25", "dense", "hybrid", "reranked"}
    assert report["rankings"]["reranked"]["ndcg_at_10"] == 1
    assert report["groundedness"]["answer_in_first"] == 1
    assert report["groundedness"]["refused"] == 0
    assert report["groundedness"]["refused_unanswerable"] == 1
    assert set(report["latencies"]) >= {"question embedding", "dense search", "BM25", "fusion", "reranking"}


def test_a_second_run_finds_the_same_and_embeds_nothing_anew(
    capsys: pytest.CaptureFixture[str], model_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "small", answers=False)
    first = evaluate(capsys, model_home, folder)
    passed: list[int] = []
    from pipelines.evaluation.vectors import CachedEmbedder

    missing = CachedEmbedder._missing

    def counted(self, table, texts, progress):  # type: ignore[no-untyped-def]
        for batch, embeddings in missing(self, table, texts, progress):
            passed.append(len(batch))
            yield batch, embeddings

    monkeypatch.setattr(CachedEmbedder, "_missing", counted)
    second = evaluate(capsys, model_home, folder)
    assert second["rankings"] == first["rankings"]
    assert passed == []
    assert second["groundedness"] is None


def test_a_limit_takes_the_first_queries_and_all_documents(
    capsys: pytest.CaptureFixture[str], model_home: Path, tmp_path: Path
) -> None:
    report = evaluate(capsys, model_home, write(tmp_path / "small"), "--limit", "1")
    assert (report["documents"], report["queries"], report["groundedness"]["questions"]) == (4, 1, 1)


def test_tables_are_printed_for_people(capsys: pytest.CaptureFixture[str], model_home: Path, tmp_path: Path) -> None:
    assert main(["retrieval", "--dataset", str(write(tmp_path / "small")), "--home", str(model_home)]) == 0
    printed = capsys.readouterr().out
    assert "nDCG@10" in printed
    assert "right answer in the first sentence" in printed


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels.tsv"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (write(tmp_path / "small") / name).unlink()
    with pytest.raises(SetupError, match=name):
        load_dataset(tmp_path / "small")


@pytest.mark.parametrize(
    ("name", "line", "complaint"),
    [
        ("corpus.jsonl", '{"_id": "x", "title": "broken', "not JSON"),
        ("corpus.jsonl", "[1]", "not a JSON object"),
        ("corpus.jsonl", '{"_id": "x"}', '"text" is not a string'),
        ("queries.jsonl", '{"_id": 7, "text": "?"}', '"_id" is not a string'),
        ("queries.jsonl", '{"_id": "9", "text": "?", "answers": "no list"}', '"answers" is not a list'),
        ("qrels.tsv", "1 moon 1", "query-id<TAB>corpus-id<TAB>score"),
        ("qrels.tsv", "77\tmoon\t1", "no query '77'"),
        ("qrels.tsv", "1\tmars\t1", "no document 'mars'"),
    ],
)
def test_a_broken_line_is_named_with_its_file(tmp_path: Path, name: str, line: str, complaint: str) -> None:
    file = write(tmp_path / "small") / name
    number = len(file.read_text().splitlines()) + 1
    with file.open("a") as out:
        out.write(line + "\n")
    with pytest.raises(SetupError) as raised:
        load_dataset(tmp_path / "small")
    assert f"{name}, line {number}" in raised.value.message
    assert complaint in raised.value.message


def test_a_bad_data_set_ends_with_exit_code_two(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["retrieval", "--dataset", str(tmp_path / "nothing"), "--home", str(tmp_path)]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_a_data_set_without_judgements_is_refused(tmp_path: Path) -> None:
    (write(tmp_path / "small") / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n1\tmoon\t0\n")
    with pytest.raises(SetupError, match="No query"):
        load_dataset(tmp_path / "small")


def test_the_nested_layout_and_blank_lines_are_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "small")
    (folder / "qrels").mkdir()
    (folder / "qrels.tsv").rename(folder / "qrels" / "test.tsv")
    with (folder / "corpus.jsonl").open("a") as out:
        out.write("\n")
    assert len(load_dataset(folder).corpus) == 4


def test_questions_are_read_from_lines(tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text('{"question": "Why?"}\n{"question": "How?"}\n')
    assert load_questions(file) == ("Why?", "How?")


def test_ndcg_weighs_places_and_grades() -> None:
    assert ndcg(["a", "b"], {"a": 1}) == 1
    assert ndcg(["b", "a"], {"a": 1}) == pytest.approx(0.6309, abs=1e-4)
    assert ndcg(["b", "a"], {"a": 2, "b": 1}) == pytest.approx((1 + 2 * 0.63093) / (2 + 0.63093), abs=1e-4)
    assert ndcg(["x"] * 10 + ["a"], {"a": 1}) == 0


@given(st.permutations("abcdefgh"), st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 3), min_size=1))
def test_metrics_lie_between_zero_and_one_and_a_perfect_order_has_one(order: list[str], relevant: dict) -> None:
    for metric in (ndcg, recall, reciprocal_rank, hit):
        assert 0 <= metric(order, relevant) <= 1 + 1e-12
    perfect = sorted(order, key=lambda document: -relevant.get(document, 0))
    assert ndcg(perfect, relevant) == pytest.approx(1)
    assert reciprocal_rank(perfect, relevant) == hit(perfect, relevant) == 1


def test_quantiles_are_values_that_occurred() -> None:
    assert [quantile([3, 1, 2, 4], q) for q in (0.5, 0.95, 0)] == [2, 4, 1]
    assert quantile([], 0.5) == 0


@pytest.mark.parametrize(
    ("text", "answers", "held"),
    [
        ("In 1687 it came out.", ["1687"], True),
        ("It weighs 50 kg.", ["5"], False),
        ("BEYONCÉ's tour", ["Beyonce"], True),
        ("Nothing.", ["", "..."], False),
    ],
)
def test_an_answer_is_held_as_whole_words(text: str, answers: list[str], held: bool) -> None:
    assert holds_answer(text, answers) is held
