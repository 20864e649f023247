"""The pages of a submission as pictures, judged one after another: each answer is the document about all pages so far."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from worker.adapters.prompts import Assignment, Picture
from worker.core import criteria as criteria_v2
from worker.core.criteria import CriteriaDocument
from worker.core.errors import InvalidDocument
from worker.core.file_refusals import FileDamaged
from worker.documents.page import Note, Page
from worker.documents.submitted import SubmittedPages

Judge = Callable[[Assignment, bytes, int], CriteriaDocument]  # of an assignment about a page, its picture, and the attempt


def visual_assignment(criteria: Sequence[str], instruction_md: str | None, teacher_context_md: str | None) -> Assignment:
    """Return the assignment of a document, whose pages are not known yet."""
    return Assignment(Picture(1, 1), criteria, instruction_md, teacher_context_md)


class VisualPages:
    """Pages from the first without an assessment on. `total` counts all pages of the document.

    `assessment` is the document about the pages so far, as JSON. It is all that the next page needs, so a worker can continue
    another one's work. It is empty while no page was judged. `attempt` is the rung of the ladder for the first call.
    """

    def __init__(
        self,
        submitted: SubmittedPages,
        assignment: Assignment,
        judge: Judge,
        first_page: int = 1,
        assessment: str = "",
        attempt: int = 0,
    ) -> None:
        self.total, self.assessment = len(submitted.continued), assessment
        self._pages, self.assignment, self._judge = submitted.pages, assignment, judge
        self._number, self._attempt = first_page - 1, attempt

    def next_page(self) -> Page:
        """Return the next page. Raises VisionTransientError or VisionPermanentError."""
        page, self._number = next(self._pages), self._number + 1
        return page

    def needs_model(self, page: Page) -> bool:
        """Report whether the page has something to judge. A document of blank pages alone is judged by its last one."""
        if Note.PAGE_MISSING in page.notes:
            return False
        return Note.BLANK not in page.notes or (self._number == self.total and not self.assessment)

    def judge(self, page: Page) -> None:
        """Let the model judge the page together with those before. Raises the feedback adapter's errors."""
        work = Picture(self._number, self.total, self.assessment)
        document = self._judge(replace(self.assignment, work=work), page.picture, self._attempt)
        self.assessment, self._attempt = criteria_v2.as_json(document), 0

    def document(self) -> CriteriaDocument:
        """Return the document about all pages. Raises FileDamaged if none could be judged, and InvalidDocument."""
        if not self.assessment:
            raise FileDamaged("no page to judge")
        try:
            return criteria_v2.parse(self.assessment, len(self.assignment.criteria))
        except criteria_v2.DocumentError as error:
            raise InvalidDocument(str(error)) from None
