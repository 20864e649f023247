"""Pages as pictures against a server: one assessment of the whole document, page by page."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from supervisor.settings.model import parse
from testkit.drawn_pages import draw_page, pdf_bytes, png_bytes
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.raw_server import END, HEAD, Peer, content_line, done, raw_server
from worker.adapters import feedback
from worker.adapters.feedback import FeedbackWriter, VisualFeedbackWriter
from worker.adapters.prompts import GERMAN
from worker.adapters.visual import visual_assignment
from worker.core.errors import InvalidDocument
from worker.core.file_refusals import FileDamaged
from worker.ollama.errors import Runaway

CRITERIA = ["Die Achsen sind beschriftet.", "Die Werte stimmen."]
SECRET = "Auf der waagerechten Achse steht die Kraft und auf der senkrechten die Dehnung der Feder."
WHITE = Image.new("RGB", (1000, 1400), "white")


def document(*scores: int, feedback_md: str = "Gut.") -> dict[str, Any]:
    judged = {f"c{n:02}": {"explanation_md": f"Seite {score}", "score": score} for n, score in enumerate(scores, 1)}
    return {"criteria": judged, "feedback_md": feedback_md}


def built(url: str, root: Path, **changes: str) -> FeedbackWriter:
    given = {"AI_BACKEND": "local", "LEARNING_DATABASE_URL": "postgresql://worker@localhost/learning", "OLLAMA_BASE_URL": url}
    models = {"AI_VISION_MODEL": "chain-vision", "AI_FEEDBACK_MODEL": "chain", "STORAGE_VERIFY_ROOT": str(root)}
    return feedback.build(parse({**given, **models, **changes}).worker, lambda: None)


def adapter(url: str, root: Path, **changes: str) -> VisualFeedbackWriter:
    writer = built(url, root, **changes)
    assert isinstance(writer, VisualFeedbackWriter)
    return writer


def handed_in(root: Path, content: bytes) -> dict[str, Any]:
    (root / "work").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return {"storage_key": "work", "size_bytes": len(content), "sha256": sha256, "internal_metadata": {}}


def drawing(root: Path) -> dict[str, Any]:
    return handed_in(root, png_bytes(draw_page("x", seed=1), "Kraft und Dehnung"))


def pages_of(root: Path, *pages: Image.Image) -> dict[str, Any]:
    return handed_in(root, pdf_bytes(pages))


def drawn(word: str) -> Image.Image:
    return draw_page(word, seed=1)


def asked(root: Path, work: dict[str, Any], answers: list[object], attempt: int = 0) -> tuple[list[dict[str, Any]], Any]:
    """The chats about this work with a server that gives these answers, and the outcome."""
    requests: list[dict[str, Any]] = []

    def script(peer: Peer) -> None:
        for answer in answers:
            if received := peer.request():
                requests.append(json.loads(received.partition(b"\r\n\r\n")[2]))
                peer.send(HEAD, content_line(json.dumps(answer)), done(), END)

    with raw_server(script) as url:
        try:
            return requests, adapter(url, root).analyze_visual(
                submission=work,
                job_payload={},
                criteria=CRITERIA,
                instruction_md="Zeichne das Diagramm.",
                teacher_context_md=SECRET,
                attempt=attempt,
            )
        except InvalidDocument as error:
            return requests, error


def test_a_picture_is_judged_and_not_transcribed(tmp_path: Path) -> None:
    """One call to the vision model gets the picture with the task and the criteria, and asks for the same document as a text."""
    (request,), result = asked(tmp_path, drawing(tmp_path), [document(7, 2)])
    assert request["model"] == "chain-vision"
    system, user = request["messages"]
    assert len(user["images"]) == 1
    assert " ".join(GERMAN.pictured) in system["content"]
    assert " ".join(GERMAN.page) not in system["content"] + user["content"]
    assert all(
        text in user["content"] for text in (*CRITERIA, "Zeichne das Diagramm.", f"<vertraulich>\n{SECRET}\n</vertraulich>")
    )
    assert list(request["format"]["properties"]["criteria"]["properties"]) == ["c01", "c02"]
    assert [each["score"] for each in result.analysis_json["criteria_results"]] == [7, 2]
    assert result.analysis_json["score"] == 2
    assert result.feedback_md == "Gut."


def test_each_page_is_judged_with_the_assessment_of_those_before(tmp_path: Path) -> None:
    """Three pages are three calls with one picture each. The answer about the last is the result."""
    work = pages_of(tmp_path, *map(drawn, "abc"))
    requests, result = asked(tmp_path, work, [document(1, 1), document(2, 2, feedback_md="Zwischen."), document(9, 9)])
    texts = [request["messages"][1]["content"] for request in requests]
    assert [len(request["messages"][1]["images"]) for request in requests] == [1, 1, 1]
    assert [f"Seite {n} von 3" in text for n, text in enumerate(texts, 1)] == [True] * 3
    assert "<zuvor>" not in texts[0]
    assert '"score":1' in texts[1]
    assert "Zwischen." in texts[2]
    assert [text.count(GERMAN.last_page[0]) for text in texts] == [0, 0, 1]
    assert [each["score"] for each in result.analysis_json["criteria_results"]] == [9, 9]


def test_a_model_that_obeys_the_schema(simulator: SimulatorProcess, tmp_path: Path) -> None:
    """A document of three pages is judged in three calls, with and without criteria."""
    for criteria in ([], [f"Kriterium {n}" for n in range(10)]):
        simulator.reset_calls()
        work = pages_of(tmp_path, *map(drawn, "abc"))
        result = adapter(simulator.url, tmp_path).analyze_visual(submission=work, job_payload={}, criteria=criteria)
        assert [each["criterion"] for each in result.analysis_json.get("criteria_results", [])] == criteria
        assert bool(result.analysis_json) == bool(criteria)
        assert len(simulator.calls()) == 3


def test_blank_pages_need_no_call(tmp_path: Path) -> None:
    """A blank page changes no assessment. Of a document of blank pages alone, the last is judged."""
    requests, _ = asked(tmp_path, pages_of(tmp_path, WHITE, drawn("a"), WHITE), [document(1, 1), document(2, 2)])
    assert len(requests) == 1
    assert "Seite 2 von 3" in requests[0]["messages"][1]["content"]
    requests, _ = asked(tmp_path, pages_of(tmp_path, WHITE, WHITE), [document(0, 0)])
    assert len(requests) == 1
    assert "Seite 2 von 2" in requests[0]["messages"][1]["content"]


def test_another_adapter_continues(tmp_path: Path) -> None:
    """The assessment so far is all that is needed to go on at the next page."""
    work, assignment = pages_of(tmp_path, drawn("a"), drawn("b")), visual_assignment(CRITERIA, None, None)
    requests: list[dict[str, Any]] = []

    def script(peer: Peer) -> None:
        requests.append(json.loads(peer.request().partition(b"\r\n\r\n")[2]))
        peer.send(HEAD, content_line(json.dumps(document(5, len(requests)))), done(), END)

    with raw_server(script) as url, adapter(url, tmp_path).visual_pages(work, assignment) as pages:
        pages.judge(pages.next_page())
        assessment = pages.assessment
    with raw_server(script) as url:
        other = adapter(url, tmp_path)
        with other.visual_pages(work, assignment, 2, assessment) as pages:
            pages.judge(pages.next_page())
            result = other.visual_feedback(pages)
    assert assessment in requests[1]["messages"][1]["content"]
    assert [each["score"] for each in result.analysis_json["criteria_results"]] == [5, 2]


def test_the_context_is_not_quoted(tmp_path: Path) -> None:
    """A picture asks for the context and the model obeys: another answer is asked for, and a second one loses the quotation."""
    quoting = document(10, 10, feedback_md=f"Gern: {SECRET} Gut!")
    requests, result = asked(tmp_path, drawing(tmp_path), [quoting, document(1, 1)])
    assert (len(requests), result.feedback_md) == (2, "Gut.")
    _, result = asked(tmp_path, drawing(tmp_path), [quoting, quoting])
    assert result.feedback_md == "Gern: […]. Gut!"


def test_a_missing_score_is_no_zero(tmp_path: Path) -> None:
    """An answer without a score is asked for again, and is then the answer's fault."""
    incomplete = document(1, 1)
    del incomplete["criteria"]["c02"]["score"]
    requests, failed = asked(tmp_path, drawing(tmp_path), [incomplete, incomplete])
    assert (len(requests), type(failed)) == (2, InvalidDocument)


@pytest.mark.parametrize("score", [85, -1])
def test_a_score_out_of_range_is_no_answer(tmp_path: Path, score: int) -> None:
    """On a picture as on a text it is asked for again and never clamped."""
    requests, failed = asked(tmp_path, drawing(tmp_path), [document(score, 1), document(1, score)])
    assert (len(requests), type(failed)) == (2, InvalidDocument)


def test_a_higher_rung_shows_a_smaller_picture(tmp_path: Path) -> None:
    """The ladder of a text holds for a picture: another temperature, stricter words, then a smaller picture."""
    work = handed_in(tmp_path, png_bytes(draw_page("x", seed=1, size=(1500, 1500)), "x"))
    (first,), _ = asked(tmp_path, work, [document(1, 1)])
    (fourth,), _ = asked(tmp_path, work, [document(1, 1)], attempt=3)
    sizes = [len(each["messages"][1]["images"][0]) for each in (first, fourth)]
    assert sizes[1] < sizes[0]
    assert [each["options"]["temperature"] for each in (first, fourth)] == [0.0, 0.7]


def test_a_server_without_end_is_no_feedback(simulator: SimulatorProcess, tmp_path: Path) -> None:
    simulator.fault("repeat", model="chain-vision")
    with pytest.raises(Runaway):
        adapter(simulator.url, tmp_path).analyze_visual(submission=drawing(tmp_path), job_payload={}, criteria=CRITERIA)


def test_the_fingerprint_covers_the_whole_request(simulator: SimulatorProcess, tmp_path: Path) -> None:
    """An assessment is used again only for the same file, task, criteria, context and model."""
    writer = adapter(simulator.url, tmp_path)
    assignments = [
        visual_assignment(["a"], None, None),
        visual_assignment(["b"], None, None),
        visual_assignment(["a"], "x", None),
        visual_assignment(["a"], None, "x"),
    ]
    found = {writer.visual_fingerprint({"sha256": "x"}, assignment) for assignment in assignments}
    found.add(writer.visual_fingerprint({"sha256": "y"}, assignments[0]))
    found.add(writer.visual_fingerprint({"sha256": "x", "internal_metadata": {"page_keys": ["k"]}}, assignments[0]))
    assert len(found) == 6


def test_a_model_that_only_reads_judges_nothing(tmp_path: Path) -> None:
    """An adapter whose vision model recognises text has no method for pictures, so that such work stays queued."""
    assert not hasattr(built("http://127.0.0.1:1", tmp_path, AI_VISION_MODEL="glm-ocr"), "analyze_visual")
    assert not hasattr(built("http://127.0.0.1:1", tmp_path, AI_VISION_MODEL="x", AI_VISION_PROMPT="glm-ocr"), "visual_pages")


def test_no_page_that_can_be_judged(simulator: SimulatorProcess, tmp_path: Path) -> None:
    """A blank page beside one that is missing is a damaged file, and no model is asked."""
    work = handed_in(tmp_path, b"")
    for name, content in (("1", png_bytes(WHITE, "")), ("2", b"no picture")):
        (tmp_path / name).write_bytes(content)
    work["internal_metadata"] = {"page_keys": ["1", "2"]}
    with pytest.raises(FileDamaged):
        adapter(simulator.url, tmp_path).analyze_visual(submission=work, job_payload={}, criteria=CRITERIA)
    assert simulator.calls() == []
