"""JSON as Go's encoder writes it: no spaces, letters as they are."""

import json


def compact(value: object, *, sorts_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sorts_keys)
