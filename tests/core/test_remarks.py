"""Sentences of the service in texts and feedback."""

from worker.adapters.remarks import ENGLISH, GERMAN, of


def test_the_language_is_chosen() -> None:
    assert (of("de"), of("en")) == (GERMAN, ENGLISH)


def test_a_missing_page_is_named() -> None:
    """The text names the page in the language of the setting."""
    assert GERMAN.missing_text(3) == "[Seite 3 konnte nicht gelesen werden]"
    assert ENGLISH.missing_text(3) == "[Page 3 could not be read]"


def test_doubtful_pages_are_named() -> None:
    """One, several and no pages have each their own form."""
    assert GERMAN.doubt(()) == ""
    assert GERMAN.doubt((2,)).startswith("*Hinweis: Seite 2 war schwer zu lesen.")
    assert GERMAN.doubt((1, 2, 5)).startswith("*Hinweis: Die Seiten 1, 2 und 5 waren schwer zu lesen.")
    assert ENGLISH.doubt((1, 2)).startswith("*Note: pages 1 and 2 were hard to read.")
