"""The work of a case, handed in as the web application does in that year."""

from typing import Final
from uuid import UUID

from testkit import drawn_pages
from testkit.environment import Environment
from testkit.platform.case import Adapter, Case, Ending
from testkit.platform.foreign import read_text
from testkit.submissions import Submission, damaged_jpeg_bytes
from worker.core.modes import Mode

SIZE: Final = (700, 980)
INSTRUCTION: Final = "Rechne und schreibe einen Antwortsatz."


def enter(environment: Environment, case: Case) -> UUID:
    (submission_id,) = environment.enter(work_of(case))
    return submission_id


def work_of(case: Case) -> Submission:
    """Return the pupil's work. Our vision adapter fails for good at a damaged file, a foreign one is asked to."""
    criteria = (f"Der Rechenweg ist richtig. {case.mark}", "Der Antwortsatz steht da.")
    if case.mode is Mode.TEXT_DIRECT:
        text = f"Drei mal vierzehn ist zweiundvierzig.  {case.mark}\n"
        return Submission(case.name, "text", text, None, criteria, INSTRUCTION, None, text)
    is_damaged = case.ending is Ending.PERMANENT_VISION and case.adapter is Adapter.OURS
    content = damaged_jpeg_bytes(1) if is_damaged else _page(case)
    mime_type = "image/jpeg" if is_damaged else "image/png"
    return Submission(case.name, "image", content, mime_type, criteria, INSTRUCTION, None, text_of(case))


def text_of(case: Case) -> str:
    """Return the text that the page shows, or that the foreign adapter reads."""
    return read_text(case.mark) if case.adapter is Adapter.FOREIGN else f"Drei mal vierzehn. {case.mark}"


def _page(case: Case) -> bytes:
    return drawn_pages.png_bytes(drawn_pages.draw_page("Drei mal vierzehn.", seed=7, size=SIZE), text_of(case))
