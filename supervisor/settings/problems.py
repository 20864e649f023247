"""Wrong settings in the words of an administrator: variable, given value with secrets masked, and remedy."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches

MAX_SHOWN_VALUE = 60
OWN_MESSAGE = "value_error"  # the validator's class of an error that a check of ours has raised
_CLOSE = 0.6  # of 1, for a word that was probably meant
_REMEDIES = {  # by the validator's own class of an error
    "missing": "must be set",
    "bool_parsing": "give true or false",
    "int_parsing": "give a whole number",
    "int_from_float": "give a whole number",
    "int_parsing_size": "is too large",
    "float_parsing": "give a number",
    "finite_number": "give a number",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "literal_error": "is none of the words that are allowed",
    "string_too_short": "must not be empty",
}
_SECRET_WORDS = re.compile(r"@|passw|secret|token|apikey|api_key", re.IGNORECASE)
_TOKEN = re.compile(r"eyJ|(?=\S*\d)(?=\S*[a-z])(?=\S*[A-Z])\S{16,}")  # a JSON Web Token, or a long random text


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong setting, or one wrong line of the settings file: without a value to show then."""

    variable: str
    shown_value: str | None
    remedy: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.remedy}"

    @property
    def subject(self) -> str:
        """The variable with its value."""
        return self.variable if self.shown_value is None else f"{self.variable}={self.shown_value}"


class SettingsError(Exception):
    """All problems of the settings at once."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def remedy_for(error_class: str, own_message: str, value: str, choices: Collection[str]) -> str:
    """The remedy for an error of the validator, whose own words are for programmers. `own_message` is ours, if there is one."""
    if value[:1] in {'"', "'"} and value[-1:] == value[:1]:
        return "the quotes are part of the value here: remove them"
    if error_class == OWN_MESSAGE:
        return own_message
    meant = get_close_matches(value.lower(), [choice.lower() for choice in choices], 1, _CLOSE)
    hint = f", did you mean {next(choice for choice in choices if choice.lower() == meant[0])}?" if meant else ""
    return _REMEDIES.get(error_class, "is not valid") + hint


def shown(value: str | None, secrets: Collection[str], *, is_secret: bool) -> str:
    """The value, cut and masked: also a secret that was written into the wrong variable is not shown."""
    if not value:
        return "(unset)"
    looks_secret = _SECRET_WORDS.search(value) or _TOKEN.search(value) or any(secret in value for secret in secrets)
    return "***" if is_secret or looks_secret else value[:MAX_SHOWN_VALUE]
