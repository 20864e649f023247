"""JSON like Go's encoder: no spaces, letters not escaped."""

import json


def compact(value: object, *, sorts_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sorts_keys)
