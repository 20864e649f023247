"""The reasons for which a file that was handed in is refused, one class per remedy.

`reason` is a stable code. It stands in the submission's row (`vision_last_error`), in the log and in metrics, by a counter
(`REFUSAL_COUNTERS`). docs/documents.md has for each the sentence that a teacher can pass on.
"""

from typing import ClassVar

from worker.core.errors import VisionPermanentError
from worker.ipc.contract import ErrorCode


class FileRefused(VisionPermanentError):
    """The base of all reasons. Its message has no text of the file."""

    code: ClassVar[ErrorCode] = ErrorCode.INPUT_UNSUPPORTED
    reason: ClassVar[str] = ""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.reason, self.code)


class FileEmpty(FileRefused):
    """No bytes, or a document without a page."""

    code, reason = ErrorCode.INPUT_CORRUPT, "file_empty"


class FileCutOff(FileRefused):
    """The upload ended before the file did: fewer bytes than the row says, or most of the picture is missing."""

    code, reason = ErrorCode.INPUT_CORRUPT, "file_cut_off"


class FileDamaged(FileRefused):
    """The beginning is that of a known format, and the rest cannot be decoded."""

    code, reason = ErrorCode.INPUT_CORRUPT, "file_damaged"


class FileTooLarge(FileRefused):
    """Too many bytes or pixels, or decoding takes too much memory or processor time."""

    code, reason = ErrorCode.INPUT_TOO_LARGE, "file_too_large"


class TooManyPages(FileRefused):
    """More pages than MAX_PDF_PAGES, the pieces of long pages included."""

    code, reason = ErrorCode.INPUT_TOO_LARGE, "too_many_pages"


class DocumentLocked(FileRefused):
    """A password is needed to open it."""

    reason = "document_locked"


class KeyRefused(FileRefused):
    """The row's storage key leads out of the bucket or to something that is not a file."""

    reason = "key_refused"


class PhotoFormatUnknown(FileRefused):
    """A picture or film in a format that cannot be read, as a camera's raw data."""

    reason = "photo_format_unknown"


class NotADocument(FileRefused):
    """Neither a picture nor a PDF, such as a text document or an archive."""

    reason = "not_a_document"


class FormNotPrinted(FileRefused):
    """A form or a collection of files that only one program can show, or letters whose font is neither in the file nor here."""

    reason = "form_not_printed"


REASONS: dict[str, type[FileRefused]] = {
    each.reason: each
    for each in (
        FileEmpty,
        FileCutOff,
        FileDamaged,
        FileTooLarge,
        TooManyPages,
        DocumentLocked,
        KeyRefused,
        PhotoFormatUnknown,
        NotADocument,
        FormNotPrinted,
    )
}
