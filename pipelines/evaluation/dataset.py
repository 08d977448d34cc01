"""Reads a retrieval data set in BEIR's layout.

corpus.jsonl     {"_id", "title", "text"} a line
queries.jsonl    {"_id", "text"} a line; with "answers" (a list of strings) groundedness can be measured
qrels.tsv        query-id, corpus-id, score, tab-separated, with a header; or qrels/test.tsv
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from kit.errors import SetupError

LAYOUT = "A data set has corpus.jsonl, queries.jsonl and qrels.tsv (or qrels/test.tsv), as BEIR's data sets do."


@dataclass(frozen=True, slots=True)
class Text:
    """A document of the corpus."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Query:
    """answers: texts of which any one is right; none where the data set has no answers."""

    id: str
    text: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """queries: those that have a relevant document. relevant: grade (> 0) by document id, by query id."""

    name: str
    corpus: tuple[Text, ...]
    queries: tuple[Query, ...]
    relevant: Mapping[str, Mapping[str, int]]

    @property
    def has_answers(self) -> bool:
        """Whether groundedness can be measured."""
        return any(query.answers for query in self.queries)


def load_dataset(folder: Path) -> Dataset:
    """Raises SetupError that names the file and the line where something is wrong."""
    if not folder.is_dir():
        raise SetupError(f"There is no folder {folder}.", LAYOUT)
    corpus = tuple(
        Text(_string(row, "_id", at), _string(row, "title", at, default=""), _string(row, "text", at))
        for row, at in _rows(folder / "corpus.jsonl")
    )
    queries = [
        Query(_string(row, "_id", at), _string(row, "text", at), _answers(row, at))
        for row, at in _rows(folder / "queries.jsonl")
    ]
    relevant = _relevant(folder, {text.id for text in corpus}, {query.id for query in queries})
    judged = tuple(query for query in queries if query.id in relevant)
    if not judged:
        raise SetupError(f"No query of {folder} has a relevant document.", LAYOUT)
    return Dataset(folder.name, corpus, judged, relevant)


def load_questions(file: Path) -> tuple[str, ...]:
    """Questions, one {"question"} a line. Raises SetupError like `load_dataset`."""
    return tuple(_string(row, "question", at) for row, at in _rows(file))


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """Lines that are not empty, each with its place for messages."""
    try:
        content = file.read_bytes().decode()
    except FileNotFoundError:
        raise SetupError(f"{file} is missing.", LAYOUT) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{file} cannot be read: {error}.", LAYOUT) from error
    # Not splitlines(): texts may hold other line separators, which JSON leaves as they are.
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            yield line, f"{file}, line {number}"


def _rows(file: Path) -> Iterator[tuple[dict[str, Any], str]]:
    found = False
    for line, at in _lines(file):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise SetupError(f"{at}: not JSON ({error}).", "Repair the line or remove it.") from error
        if not isinstance(row, dict):
            raise SetupError(f"{at}: not a JSON object.", "Repair the line or remove it.")
        found = True
        yield row, at
    if not found:
        raise SetupError(f"{file} is empty.", LAYOUT)


def _string(row: dict[str, Any], key: str, at: str, default: str | None = None) -> str:
    value = row.get(key, default)
    if not isinstance(value, str):
        raise SetupError(f'{at}: "{key}" is not a string.', "Repair the line or remove it.")
    return value


def _answers(row: dict[str, Any], at: str) -> tuple[str, ...]:
    answers = row.get("answers", [])
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise SetupError(f'{at}: "answers" is not a list of strings.', "Repair the line or remove it.")
    return tuple(answers)


def _relevant(folder: Path, documents: set[str], queries: set[str]) -> dict[str, dict[str, int]]:
    nested = folder / "qrels" / "test.tsv"
    relevant: dict[str, dict[str, int]] = {}
    for number, (line, at) in enumerate(_lines(nested if nested.is_file() else folder / "qrels.tsv")):
        fields = line.strip("\r").split("\t")
        if number == 0 and fields[0] == "query-id":
            continue
        if len(fields) != 3 or not fields[2].lstrip("-").isdecimal():
            raise SetupError(f"{at}: not `query-id<TAB>corpus-id<TAB>score`.", "Repair the line or remove it.")
        query, document, grade = fields[0], fields[1], int(fields[2])
        if query not in queries or document not in documents:
            missing = f"query {query!r}" if query not in queries else f"document {document!r}"
            raise SetupError(f"{at}: there is no {missing}.", "The three files must belong together.")
        if grade > 0:
            relevant.setdefault(query, {})[document] = grade
    return relevant
