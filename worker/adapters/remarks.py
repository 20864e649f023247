"""Sentences of the service itself in a pupil's text and feedback, in German and in English. No model gets or writes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Remarks:
    """`missing` stands in the text in place of a page, and `no_reason` in an analysis in place of a blank explanation.

    The doubtful pages stand at the end of the feedback.
    """

    missing: str
    doubtful_page: str
    doubtful_pages: str
    conjunction: str
    no_reason: str

    def missing_text(self, page: int) -> str:
        """The text of a page that cannot be read, counted from 1."""
        return self.missing.format(page=page)

    def doubt(self, pages: Sequence[int]) -> str:
        """A remark on pages whose reading is doubtful. '' without pages."""
        if not pages:
            return ""
        *most, last = map(str, pages)
        form = self.doubtful_pages if most else self.doubtful_page
        return form.format(pages=f"{', '.join(most)} {self.conjunction} {last}" if most else last)


GERMAN = Remarks(
    missing="[Seite {page} konnte nicht gelesen werden]",
    doubtful_page="*Hinweis: Seite {pages} war schwer zu lesen. Die Rückmeldung kann dort ungenau sein.*",
    doubtful_pages="*Hinweis: Die Seiten {pages} waren schwer zu lesen. Die Rückmeldung kann dort ungenau sein.*",
    conjunction="und",
    no_reason="Zu dieser Bewertung liegt keine Begründung vor.",
)
ENGLISH = Remarks(
    missing="[Page {page} could not be read]",
    doubtful_page="*Note: page {pages} was hard to read. The feedback on it may be inaccurate.*",
    doubtful_pages="*Note: pages {pages} were hard to read. The feedback on them may be inaccurate.*",
    conjunction="and",
    no_reason="No reason was given for this score.",
)


def of(language: Literal["de", "en"]) -> Remarks:
    return GERMAN if language == "de" else ENGLISH
