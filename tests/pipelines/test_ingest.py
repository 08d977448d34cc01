import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from deployments.embedder.export import ensure_model
from deployments.embedder.model import OnnxEmbedder
from deployments.protocols import SearchQuery
from deployments.retriever.config import RetrieverConfig
from deployments.retriever.stage import RetrieverStage
from kit.errors import SetupError, UnavailableError
from pipelines import ingest as module
from pipelines.ingestion import job
from pipelines.ingestion.chunker import MAX_PIECES


async def test_what_was_ingested_is_found(desk: Any) -> None:
    desk.write("physics/magnets.md", "---\nsubject: physics\n---\n# Magnets\nA magnet attracts iron filings.")
    desk.write("notes.txt", "Rivers carry sand to the sea.\n\nGlaciers carve valleys.")
    summary = await desk.ingest()
    assert (summary.written, summary.failed, summary.chunks, summary.version) == (2, 0, 2, 2)

    model = OnnxEmbedder(ensure_model(desk.settings.home, "int8"), threads=1)
    stage = RetrieverStage(RetrieverConfig(), desk.databases)
    question = "What attracts iron?"
    vector = model.encode([question]).sentences[0]
    result = await stage.search(SearchQuery("default", desk.collection, question, vector, k=1))
    await stage.close()
    [passage] = result.passages
    assert passage.source == "shelf/physics/magnets.md"
    assert (passage.document, passage.heading, passage.subject) == ("Magnets", "Magnets", "physics")
    assert passage.text == "A magnet attracts iron filings."


async def test_vectors_are_those_of_the_text_under_its_heading(desk: Any) -> None:
    desk.write("magnets.md", "# Magnets\n## Iron\nA magnet attracts it.")
    await desk.ingest()
    model = OnnxEmbedder(ensure_model(desk.settings.home, "int8"), threads=1)
    expected = model.encode(["Magnets > Iron\nA magnet attracts it."], tokens=True)
    collection = await desk.store.collection(desk.collection)
    changes = await desk.store.changes(collection.id, -1, vectors=True)
    np.testing.assert_allclose(changes.chunks[0].vectors, expected.sentences, atol=1e-6)
    row = await desk.databases.pool("penstock_t_default").fetchrow(
        "SELECT token_vectors, token_count FROM chunks WHERE id = $1", changes.chunks[0].ids[0]
    )
    tokens = np.frombuffer(row[0], dtype=np.int8).reshape(-1, 384)
    np.testing.assert_allclose(tokens / 127, expected.tokens[0].vectors, atol=0.5 / 127 + 1e-6)
    assert row[1] == len(["A", "magnet", "attracts", "it", "."])


async def test_front_matter_describes_the_document_and_the_option_fills_the_gap(desk: Any) -> None:
    desk.write(
        "a.md",
        '---\ntitle: Waves\nsubject: physics\nclass_level: "9-10"\nauthor: Ada\ntags: [sound, light]\n---\nText.',
    )
    desk.write("b.md", "# Cells\nText.")
    await desk.ingest(subject="general")
    rows = await desk.databases.pool("penstock_t_default").fetch(
        """SELECT d.title, d.subject, d.class_level, d.attributes FROM documents d JOIN collections c
           ON c.id = d.collection_id WHERE c.name = $1 ORDER BY d.source""",
        desk.collection,
    )
    assert [tuple(row)[:3] for row in rows] == [("Waves", "physics", "9-10"), ("Cells", "general", None)]
    assert json.loads(rows[0]["attributes"]) == {"author": "Ada", "tags": ["sound", "light"]}


async def test_a_second_run_does_nothing_and_starts_no_model(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write_lessons(5)
    await desk.ingest()

    def refuse(*_: Any) -> Any:
        raise AssertionError("a run that finds nothing new needs no model")

    monkeypatch.setattr(module, "start_inline", refuse)
    summary = await desk.ingest()
    assert (summary.written, summary.unchanged, summary.version) == (0, 5, 5)


async def test_only_what_changed_is_written_and_what_vanished_stays(desk: Any) -> None:
    desk.write_lessons(3)
    await desk.ingest()
    desk.write("lesson001.md", "# Lesson 1\nA new text.")
    (desk.folder / "lesson002.md").unlink()
    summary = await desk.ingest()
    assert (summary.written, summary.unchanged) == (1, 1)
    stored = await desk.stored()
    assert stored["lesson001.md"] == ["A new text."]
    assert set(stored) == {"lesson000.md", "lesson001.md", "lesson002.md"}


async def test_another_subject_makes_every_document_a_changed_one(desk: Any) -> None:
    desk.write_lessons(2)
    await desk.ingest()
    assert (await desk.ingest(subject="history")).written == 2


async def test_a_name_that_is_not_utf_8_does_not_keep_a_file_out(desk: Any) -> None:
    (desk.folder / os.fsdecode(b"caf\xe9.txt")).write_text("Text.")
    assert (await desk.ingest()).failures == []
    assert set(await desk.stored()) == {"caf\ufffd.txt"}


async def test_bad_files_are_named_with_their_reason_and_the_others_go_in(desk: Any) -> None:
    desk.write("good.md", "# Good\nText.")
    desk.write("binary.txt", b"\x7fELF\0\0\0\xff\xfe")
    desk.write("latin.md", "Caf\u00e9".encode("latin-1"))
    desk.write("empty.md", " \n")
    desk.write("bare.md", "# Only\n## Headings\n---\n")
    desk.write("front.md", "---\ntitle: [open\n---\nText.")
    desk.write("nested.md", "---\nauthor: {name: Ada}\n---\nText.")
    desk.write("image.png", b"\x89PNG")
    desk.write(".hidden/secret.md", "Hidden.")
    (desk.folder / "gone.md").symlink_to(desk.folder / "nowhere")
    os.mkfifo(desk.folder / "pipe.txt")
    summary = await desk.ingest()
    assert set(await desk.stored()) == {"good.md"}
    reasons = {failure.file.partition("/")[2]: failure.reason for failure in summary.failures}
    assert set(reasons) == {
        "binary.txt",
        "latin.md",
        "empty.md",
        "bare.md",
        "front.md",
        "nested.md",
        "gone.md",
        "pipe.txt",
    }
    assert "binary" in reasons["binary.txt"]
    assert "UTF-8" in reasons["latin.md"]
    assert "empty" in reasons["empty.md"]
    assert "no text" in reasons["bare.md"]
    assert "line 2" in reasons["front.md"] or "line 3" in reasons["front.md"]
    assert "'author'" in reasons["nested.md"]
    assert "No such file" in reasons["gone.md"]
    assert "regular file" in reasons["pipe.txt"]
    assert summary.ignored == {".png": 1}
    assert {event["file"] for event in desk.told("failure")} == {failure.file for failure in summary.failures}


async def test_a_failed_file_leaves_its_last_good_version(desk: Any) -> None:
    desk.write("lesson.md", "# Lesson\nGood text.")
    await desk.ingest()
    desk.write("lesson.md", b"\xff\xfebroken\0"[:7])
    summary = await desk.ingest()
    assert summary.failed == 1
    assert await desk.stored() == {"lesson.md": ["Good text."]}


async def test_two_runs_at_once_leave_one_copy_of_each_document(desk: Any) -> None:
    desk.write_lessons(30)
    first, second = await asyncio.gather(desk.ingest(), desk.ingest())
    assert first.written + second.written == 30
    assert first.unchanged + second.unchanged == 30
    stored = await desk.stored()
    assert len(stored) == 30
    assert all(len(texts) == 2 for texts in stored.values())


async def test_searches_never_fail_during_an_ingestion(desk: Any) -> None:
    desk.write("aaa.md", "# Constant\nThe constant text about rivers.")
    await desk.ingest()
    desk.write_lessons(40)
    stage = RetrieverStage(RetrieverConfig(), desk.databases)
    vector = np.full(384, 384**-0.5, np.float32)
    running = asyncio.create_task(desk.ingest())
    versions = []
    while not running.done():
        query = SearchQuery("default", desk.collection, "constant rivers", vector, filters={"source": "shelf/aaa.md"})
        result = await stage.search(query)
        assert [passage.source for passage in result.passages] == ["shelf/aaa.md"]
        versions.append(result.version)
    await stage.close()
    assert (await running).written == 40
    assert versions == sorted(versions)
    assert len(set(versions)) > 2


async def test_a_killed_run_is_completed_by_the_next_one(desk: Any) -> None:
    desk.write_lessons(60)
    environment = {**os.environ, "PENSTOCK_HOME": str(desk.settings.home), "DATABASE_URL": desk.database_url}
    command = [sys.executable, "-m", "pipelines.ingest", "--inline"]
    command += ["--path", str(desk.folder), "--collection", desk.collection]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE)
    try:
        while len(await desk.stored()) < 3:
            assert process.returncode is None
            await asyncio.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.communicate()
    before = await desk.stored()
    assert 3 <= len(before) < 60
    assert all(len(texts) == 2 for texts in before.values())

    done = await asyncio.to_thread(subprocess.run, command, env=environment, stdout=subprocess.PIPE)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert events[0]["event"] == "start"
    assert events[-1]["event"] == "summary"
    # A transaction that was on its way when the run was killed may still have been committed.
    assert events[-1]["unchanged"] >= len(before)
    assert events[-1]["written"] + events[-1]["unchanged"] == 60
    after = await desk.stored()
    assert len(after) == 60
    assert all(len(texts) == 2 for texts in after.values())


async def test_progress_counts_up_to_the_total(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.ingestion.progress.INTERVAL", 0)
    desk.write_lessons(10)
    await desk.ingest()
    told = desk.told("progress")
    assert [event["done"] for event in told] == sorted(event["done"] for event in told)
    assert told[-1] == told[-1] | {"done": 10, "total": 10, "chunks": 20, "eta": 0}
    assert all(event["eta"] is None or event["eta"] >= 0 for event in told)


async def test_a_long_document_keeps_the_order_of_its_chunks(desk: Any) -> None:
    sentence = "Sentence number {} of a long book tells a little more about the great river."
    desk.write("book.txt", " ".join(sentence.format(number) for number in range(450)))
    await desk.ingest()
    texts = (await desk.stored())["book.txt"]
    assert len(texts) > job.CHUNKS_AT_ONCE
    assert " ".join(texts).split() == " ".join(sentence.format(number) for number in range(450)).split()
    counts = await desk.databases.pool("penstock_t_default").fetchval(
        """SELECT max(k.token_count) FROM chunks k JOIN collections c ON c.id = k.collection_id WHERE c.name = $1""",
        desk.collection,
    )
    assert counts <= MAX_PIECES


async def test_a_postgres_that_comes_back_is_waited_for(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "RETRY_WAITS", (0.0, 0.0))
    lost = 2
    replace = job.Store.replace_document

    async def flaky(self: Any, *arguments: Any) -> Any:
        nonlocal lost
        if lost:
            lost -= 1
            raise UnavailableError("gone")
        return await replace(self, *arguments)

    monkeypatch.setattr(job.Store, "replace_document", flaky)
    desk.write_lessons(1)
    assert (await desk.ingest()).written == 1
    lost = 9
    desk.write_lessons(2)
    with pytest.raises(UnavailableError, match="Run the same command again"):
        await desk.ingest()


async def test_setup_errors_name_the_remedy(desk: Any) -> None:
    with pytest.raises(SetupError, match="does not exist"):
        await desk.ingest(desk.folder / "absent")
    desk.write("image.png", b"\x89PNG")
    with pytest.raises(SetupError, match=r"\.md"):
        await desk.ingest()
    desk.write("a.md", "Text.")
    with pytest.raises(SetupError, match="tenant"):
        await desk.ingest(tenant="nobody")
    desk.collection = " "
    with pytest.raises(SetupError, match="name"):
        await desk.ingest()


async def test_a_single_file_is_ingested_and_an_unknown_kind_is_refused(desk: Any) -> None:
    summary = await desk.ingest(desk.write("note.TXT", "A note."))
    assert summary.written == 1
    summary = await desk.ingest(desk.write("image.png", b"\x89PNG"))
    assert [failure.reason for failure in summary.failures] == ["There is no parser for .png."]


async def test_exit_codes_tell_all_some_and_none(
    desk: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PENSTOCK_HOME", str(desk.settings.home))
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = module.main(["--collection", desk.collection, "--path", *arguments])
        return code, json.loads(capsys.readouterr().out.splitlines()[-1])

    good = desk.write("good.md", "Text.")
    code, last = await asyncio.to_thread(run, str(good))
    assert (code, last["event"], last["failed"]) == (0, "summary", 0)
    desk.write("bad.md", "")
    code, last = await asyncio.to_thread(run, str(desk.folder))
    assert (code, last["failures"]) == (1, [{"file": "shelf/bad.md", "reason": "It is empty."}])
    code, last = await asyncio.to_thread(run, str(desk.folder / "absent"))
    assert (code, last["event"]) == (2, "error")
    assert "does not exist" in last["message"]
