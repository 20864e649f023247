"""Valid and invalid answers of a feedback model."""

import json
from typing import Any

PRIVATE = "GeheimeAntwort"  # part of every answer, must not appear in a log


def document(criteria: int = 1, *, score: object = 7, text: str = PRIVATE, **more: object) -> str:
    """Make a valid document with one score for all criteria."""
    judgements: dict[str, Any] = {f"c{place:02}": {"explanation_md": text, "score": score} for place in range(1, criteria + 1)}
    return json.dumps({"criteria": judgements, "feedback_md": text, **more})


NOT_JSON = f"Gern! {PRIVATE} Hier ist meine Rückmeldung: gut gemacht."
OTHER_SCHEMA = json.dumps({"antwort": PRIVATE, "note": "sehr gut"})
TRUNCATED = document()[:-12]
MISSING_CRITERION = json.dumps({"criteria": {}, "feedback_md": PRIVATE})
ANOTHER_CRITERION = json.dumps(
    {
        "criteria": {"c01": {"explanation_md": PRIVATE, "score": 7}, "c02": {"explanation_md": "erfunden", "score": 10}},
        "feedback_md": PRIVATE,
    }
)
TOO_HIGH, TOO_LOW = document(score=9999), document(score=-5)
UNSTORABLE = document(text=f"{PRIVATE} \0 \ud800 ende")  # json.dumps writes these characters as escapes, like a model
EMPTY_FEEDBACK = json.dumps({"criteria": {"c01": {"explanation_md": PRIVATE, "score": 7}}, "feedback_md": "  "})
DEEP = "[" * 100_000
HUGE_NUMBER = document().replace("7", "7" * 5_000)
