"""Reads a submission's pages with a vision model in Ollama."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from worker.adapters import prompts, remarks
from worker.core import checkpoint, ladder
from worker.core.doubt import NO_CONFIDENCE
from worker.core.page_size import PAGES_VERSION
from worker.documents.decoder import smaller
from worker.documents.ink import Ink, ink_in
from worker.documents.page import Note, Page
from worker.documents.storage import page_keys
from worker.documents.submitted import Submitted
from worker.ollama.call_report import OnCall, failures_reported, ignore_call
from worker.ollama.client import ChatRequest, Ollama, deadline_in
from worker.ollama.errors import EmptyAnswer
from worker.ollama.repetition import PAGE_CHARACTERS
from worker.ollama.stream import Answer
from worker.ollama.token_budget import MAX_PAGE_TOKENS
from worker.ollama.usage import OnUsage, Purpose, ignore_usage
from worker.ollama.vision_family import family_of
from worker.settings import WorkerSettings

OWN_TEXT = "\nown text of typed pages, 1"  # part of the fingerprint: the rules for a PDF's own text, with their version
RENDERED = ", rendered by the web side"  # part of the fingerprint
MOST_DOUBTED_CHARACTERS = 200  # "The picture shows a blank page" in a few sentences


class Pages:
    """Pages of one submission, read one after another. `total` counts the pages of the whole document, and `continued`
    is true for each of them that continues the page before it.

    `attempt` is the rung of the ladder for the first page that is read here. Each further page begins at the lowest rung.
    """

    def __init__(
        self,
        continued: Sequence[bool],
        pages: Iterator[Page],
        ask: Callable[[bytes, int], Answer],
        means: Mapping[str, str],
        attempt: int,
        first_page: int = 1,
        language: Literal["de", "en"] = "de",
    ) -> None:
        self.total, self.continued, self._attempt = len(continued), continued, attempt
        self._pages, self._ask, self._means, self._tokens = pages, ask, means, 0
        self._number, self._language = first_page - 1, language
        self.confidence = NO_CONFIDENCE  # of the last answer

    def next_page(self) -> Page:
        """Return the next page. Raises VisionTransientError or VisionPermanentError."""
        page, self._number = next(self._pages), self._number + 1
        return page

    def unasked_text(self, page: Page) -> str | None:
        """Return the text of a page for which no model needs to be asked, otherwise None."""
        if Note.PAGE_MISSING in page.notes:
            return remarks.of(self._language).missing_text(self._number)
        return page.text

    def read(self, page: Page) -> str:
        """Return the text of a page. Raises VisionTransientError, VisionPermanentError or Unavailable."""
        answer = self._ask(page.picture, self._attempt)
        self._attempt = 0
        self._tokens += answer.tokens
        self.confidence = answer.confidence
        return _reading(answer.text, page.picture)

    def metadata(self) -> dict[str, Any]:
        """Return model, prompt version, pages and tokens. Pages that an earlier worker read are not in the tokens."""
        return {**self._means, "pages": self.total, "tokens": self._tokens}


class Vision:
    """The vision adapter of AI_BACKEND=local. It reads page by page, so that each page can be committed before the next."""

    def __init__(self, settings: WorkerSettings, ollama: Ollama, on_call: OnCall = ignore_call) -> None:
        self._settings, self._ollama, self._on_call = settings, ollama, on_call
        self._submitted = Submitted(settings, takes_own_text=settings.read_pdf_text)
        texts, self._family = (
            prompts.of(settings.ai_prompt_language),
            family_of(settings.ai_vision_model, settings.ai_vision_prompt),
        )
        self._prompts, self._prompt = texts, self._family.prompt or texts.page_text
        self._means = {"model": settings.ai_vision_model, "prompts": texts.version}
        self._own_text = OWN_TEXT if settings.read_pdf_text else ""
        self._digest: str | None = None

    @contextmanager
    def pages(self, submission: Mapping[str, Any], first_page: int, attempt: int = 0) -> Iterator[Pages]:
        """Open the pages from `first_page` (counted from 1) on: rendered by the web side, otherwise decoded from the original.

        Raises VisionTransientError or VisionPermanentError.
        """
        with self._submitted.opened(submission, first_page) as document:
            language = self._settings.ai_prompt_language
            yield Pages(document.continued, document.pages, self._ask, self._means, attempt, first_page, language)

    def fingerprint(self, submission: Mapping[str, Any]) -> str:
        """Return the fingerprint of a text that is read now. Raises VisionTransientError if the server is not reachable.

        A failure is reported as one of a call, so that the monitor learns of a server that fails before the first page.
        """
        model = self._settings.ai_vision_model
        with failures_reported(self._on_call):
            self._digest = self._digest or self._ollama.digest(model)  # not kept if none was found: another worker may find it
        made_by, prompt = f"{__name__} {PAGES_VERSION}", self._prompt + self._own_text
        if page_keys(submission):  # a long page is one of these, and several of the original's
            made_by += RENDERED
        return checkpoint.fingerprint(str(submission["sha256"]), made_by, self._digest or model, prompt)

    def _ask(self, picture: bytes, attempt: int) -> Answer:
        rung = ladder.rung(attempt)
        shown = smaller(picture) if rung.is_smaller else picture
        content = self._family.prompt or self._prompts.page_text_at(rung)
        message = {"role": "user", "content": content, "images": [base64.b64encode(shown).decode()]}
        request = ChatRequest(
            model=self._settings.ai_vision_model,
            messages=(message,),
            options=self._settings.model_options("vision"),
            max_tokens=MAX_PAGE_TOKENS,
            repetition_limit_characters=PAGE_CHARACTERS,
            temperature=rung.temperature,
            seed=ladder.seed(attempt),
            stop=self._family.stop,
            wants_logprobs=True,
            purpose=Purpose("ocr"),
        )
        return self._ollama.chat(request, deadline_in(self._settings.ai_timeout_vision))


def _reading(text: str, picture: bytes) -> str:
    """Compare a short answer with its picture, because models describe blank pages and return nothing for written ones."""
    if len(text.strip()) > MOST_DOUBTED_CHARACTERS:
        return text
    ink = ink_in(picture)
    if ink is Ink.WRITTEN and not text.strip():
        raise EmptyAnswer("no text of a page with ink")
    return "" if ink is Ink.NONE else text


def build(
    settings: WorkerSettings,
    on_progress: Callable[[], None],
    on_call: OnCall = ignore_call,
    on_usage: OnUsage = ignore_usage,
) -> Vision:
    may_leave = settings.ai_send_pupils_work_to_cloud
    ollama = Ollama(settings.ollama_base_url, on_progress, on_call, on_usage=on_usage, may_leave_the_house=may_leave)
    return Vision(settings, ollama, on_call)
