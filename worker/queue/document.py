"""JSON as it comes out of the database, where anybody may have put anything."""

import json
from typing import Any


def read_document(text: str | bytes) -> Any:
    """The document; None for what PostgreSQL can store and Python cannot read: a number of more than 4300 digits, or hundreds of
    brackets in each other. A crash over it would repeat itself in every worker.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
