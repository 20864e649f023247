"""The work of a case, handed in as the web application does in that year."""

from collections.abc import Mapping
from typing import Any, Final, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from testkit import drawn_pages
from testkit.class_tasks import begin_attempt, open_task
from testkit.environment import Environment
from testkit.platform.case import Case, Ending, Work
from testkit.platform.foreign import read_text
from testkit.submissions import Submission, damaged_jpeg_bytes

SIZE: Final = (700, 980)
INSTRUCTION: Final = "Rechne und schreibe einen Antwortsatz."
TASK_KINDS: Final = {Work.DIALOG: "dialog", Work.PROGRAM: "scratch"}
TASK: Final[Mapping[str, Any]] = {"instruction_md": INSTRUCTION, "teacher_context_md": "Klasse 5.", "model_solution_md": "42"}
CONVERSATION: Final = {
    "student_performance": {
        "messages": [{"text": "Drei mal vierzehn.", "starter_text": None, "starter_source": None}],
        "closing_answer_md": "Es sind zweiundvierzig.",
    },
    "conversation_context": {"opening_message_md": "Wie rechnest du?", "assistant_messages": ["Und dann?"]},
}
AS_DIALOG: Final[LiteralString] = """
    update learning_submissions set kind = 'dialog', text_body = null, dialog_session_id = gen_random_uuid() where id = %s
"""
AS_PROGRAM: Final[LiteralString] = """
    update learning_submissions set kind = 'file', mime_type = 'application/x.scratch.sb3' where id = %s
"""
CHANGE_ROW: Final[LiteralString] = """
    update learning_submissions set intent = %s, internal_metadata = internal_metadata || %s where id = %s
"""


def enter(environment: Environment, case: Case) -> UUID:
    """Hand in the work. No worker looks for it before it is woken."""
    (submission_id,) = environment.enter(work_of(case))
    if case.year > 2025:
        _as_of_2026(environment, case, submission_id)
    return submission_id


def _as_of_2026(environment: Environment, case: Case, submission_id: UUID) -> None:
    """Add what the web application writes since 2026, and the task with the teacher's context."""
    intent = "feedback" if case.work is Work.PRACTICE else "submit"
    kind_of_task = TASK_KINDS.get(case.work, "native")
    words: dict[str, Any] = {"analysis_mode": case.work.mode, "task_kind": kind_of_task, "intent": intent}
    metadata: dict[str, Any] = {"analysis_mode": case.work.mode}
    open_task(environment.owner, submission_id, **TASK)
    if case.work is Work.PROGRAM:
        words |= {"kind": "file"}
        environment.owner.execute(AS_PROGRAM, [submission_id])
    if case.work is Work.DIALOG:
        words |= {"kind": "dialog", **CONVERSATION}
        environment.owner.execute(AS_DIALOG, [submission_id])
    if case.work is Work.PRACTICE:
        attempt_id = begin_attempt(environment.owner, submission_id, list(work_of(case).criteria))
        words["practice_attempt_id"] = metadata["practice_attempt_id"] = str(attempt_id)
    environment.owner.execute(CHANGE_ROW, [intent, Jsonb(metadata), submission_id])
    environment.change_job("payload = payload - 'hints_md' || %s", submission_id, Jsonb(words))


def work_of(case: Case) -> Submission:
    """Return the pupil's work. Our vision adapter fails for good at a damaged file, a foreign one is asked to."""
    criteria = (f"Der Rechenweg ist richtig. {case.mark}", "Der Antwortsatz steht da.")
    if not case.sees_in:
        text = f"Drei mal vierzehn ist zweiundvierzig.  {case.mark}\n"
        return Submission(case.name, "text", text, None, criteria, INSTRUCTION, None, text)
    is_damaged = case.ending is Ending.PERMANENT_VISION and case.adapter.is_ours
    content = damaged_jpeg_bytes(1) if is_damaged else _page(case)
    mime_type = "image/jpeg" if is_damaged else "image/png"
    return Submission(case.name, "image", content, mime_type, criteria, INSTRUCTION, None, text_of(case))


def text_of(case: Case) -> str:
    """Return the text that the page shows, or that the foreign adapter reads."""
    return f"Drei mal vierzehn. {case.mark}" if case.adapter.is_ours else read_text(case.mark)


def _page(case: Case) -> bytes:
    return drawn_pages.png_bytes(drawn_pages.draw_page("Drei mal vierzehn.", seed=7, size=SIZE), text_of(case))
