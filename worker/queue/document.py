"""Reads JSON values from the database, which may hold anything."""

import json
from typing import Any


def read_document(text: str | bytes) -> Any:
    """Return the value, or None if PostgreSQL can store it and Python cannot read it.

    That is a number of more than 4300 digits, or brackets nested hundreds deep. An exception here would crash one worker after
    another on the same job.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
