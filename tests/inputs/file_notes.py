"""The notes that say something about a file. Those about its writing are left to test_legibility.py: test pictures are small."""

from worker.documents.page import Note, Page

JUDGEMENTS = {Note.BLANK, Note.LOW_CONTRAST, Note.BLURRED, Note.SMALL}


def file_notes(page: Page) -> tuple[Note, ...]:
    return tuple(note for note in page.notes if note not in JUDGEMENTS)
