"""Reuse of an earlier OCR result."""

import pytest

from tests.core.test_outcome import accepted
from worker.core.checkpoint import fingerprint, is_usable, usable_pages

FROM = ("sha-of-the-photo", "worker.adapters.vision", "sha-of-the-model", "Lies den Text.")
NOW = fingerprint(*FROM)

USABLE: dict[str, tuple[str, str | None, str | None, bool]] = {
    "nothing was read": ("pending", None, None, False),
    "extracted but not read": ("extracted", None, None, False),
    "a blank page that we read": ("pending", "", NOW, True),
    "empty text of the web side": ("extracted", "", None, False),
    "read by the web side": ("extracted", "text", None, True),
    "text of the web side before it was extracted": ("pending", "text", None, False),
    "ours, while pending": ("pending", "text", NOW, True),
    "ours, while extracted": ("extracted", "text", NOW, True),
    "ours, from other things": ("pending", "text", "another fingerprint", False),
    "ours, from other things, but extracted": ("extracted", "text", "another fingerprint", True),
}


@pytest.mark.parametrize(("status", "text", "cached_from", "expected"), USABLE.values(), ids=USABLE.keys())
def test_a_text_is_reused_if_its_fingerprint_matches(
    status: str, text: str | None, cached_from: str | None, *, expected: bool
) -> None:
    """A text is reused if the web side has extracted it, or if it has the same fingerprint."""
    payload = accepted(cached_text_md=text, cached_from=cached_from)
    assert is_usable(payload, {"analysis_status": status}, NOW) is expected


@pytest.mark.parametrize("part", range(4), ids=["content", "adapter", "model", "prompt"])
def test_each_part_changes_the_fingerprint(part: int) -> None:
    """Another photo, adapter, model or prompt gives another fingerprint. The same four give the same one."""
    changed = tuple(value + ("x" if place == part else "") for place, value in enumerate(FROM))
    assert fingerprint(*changed) != NOW
    assert fingerprint(*FROM) == NOW


PAGES: dict[str, tuple[object, str | None, tuple[str, ...]]] = {
    "none was read": ([], NOW, ()),
    "read from the same things": (["one", ""], NOW, ("one", "")),
    "read from other things": (["one"], "another fingerprint", ()),
    "without a fingerprint": (["one"], None, ()),
    "not a list": ("one", NOW, ()),
    "not texts": (["one", 2], NOW, ()),
}


@pytest.mark.parametrize(("pages", "cached_from", "expected"), PAGES.values(), ids=PAGES.keys())
def test_pages_are_reused_if_their_fingerprint_matches(pages: object, cached_from: str | None, expected: tuple[str, ...]) -> None:
    """The first pages are reused, an empty one too, if they have the same fingerprint."""
    payload = accepted(cached_pages=pages, cached_pages_from=cached_from)
    assert usable_pages(payload, NOW) == expected
