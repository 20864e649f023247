"""Quotations of the teacher's confidential context in an answer."""

import pytest

from tests.inputs.alarm import alarmed
from worker.core.confidential import OMISSION, QUOTED_WORDS, Confidential

CONTEXT = "Die Musterlösung: Der Umfang beträgt vierzehn Zentimeter, und die Fläche misst zwölf Quadratzentimeter."
QUOTED = "der umfang beträgt VIERZEHN Zentimeter - und **die** Fläche"  # in other letters and signs
FOUND = {
    "the whole": (CONTEXT, f"{OMISSION}."),
    "in other letters": (f"Hier: {QUOTED}.", f"Hier: {OMISSION}."),
    "twice": (f"{QUOTED}! Noch einmal: {QUOTED}?", f"{OMISSION}! Noch einmal: {OMISSION}?"),
}


@pytest.mark.parametrize(("text", "left"), FOUND.values(), ids=FOUND.keys())
def test_a_quotation_is_found_and_removed(text: str, left: str) -> None:
    context = Confidential.of(CONTEXT, [])
    assert context.is_quoted_in(text)
    assert context.removed_from(text) == left
    assert not context.is_quoted_in(left)


SEVEN = "Der Kaiser starb im Winter in Apulien."
NOT_FOUND = {
    "one word less": (CONTEXT, " ".join(QUOTED.replace("- ", "").split()[: QUOTED_WORDS - 1])),
    "other words": (CONTEXT, "Gut gemacht. Nenne noch die Einheiten und begründe deinen Weg in einem ganzen Satz."),
    "no context": (None, CONTEXT),
    "an empty context": ("", CONTEXT),
    "a short context": ("Kurz und freundlich.", "Kurz und freundlich."),
}


@pytest.mark.parametrize(("context_md", "text"), NOT_FOUND.values(), ids=NOT_FOUND.keys())
def test_what_is_no_quotation_stays(context_md: str | None, text: str) -> None:
    context = Confidential.of(context_md, [])
    assert not context.is_quoted_in(text)
    assert context.removed_from(text) == text


@pytest.mark.parametrize("context_md", ["Die Lösung ist genau 42.", "Das Endergebnis lautet: **sieben** mal sechs", SEVEN])
def test_a_short_context_is_a_quotation_as_a_whole(context_md: str) -> None:
    """A context of five to seven words may be the solution. All its words in a row are a quotation, and a part is none."""
    context = Confidential.of(context_md, [])
    assert context.removed_from(f"Gern: {context_md}").startswith(f"Gern: {OMISSION}")
    assert not context.is_quoted_in(context_md.rpartition(" ")[0])
    assert not Confidential.of(context_md, [f"Ich meine: {context_md}"]).is_quoted_in(context_md)


def test_what_the_pupil_has_may_be_quoted() -> None:
    """Words of the work, the task or a criterion are no secret, even if the context repeats them."""
    assert not Confidential.of(CONTEXT, ["anderes", f"Ich meine: {QUOTED}."]).is_quoted_in(QUOTED)


def test_long_texts_are_read_once() -> None:
    """The time grows with the length of the texts and not with their product."""
    words = "ja " * 300_000
    with alarmed():
        assert Confidential.of(words, []).removed_from(words).startswith(OMISSION)
