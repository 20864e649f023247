"""Damaged files of every format that is read, by the benchmark that counts them."""

from bench.damaged import measure
from worker.core.file_refusals import REASONS

FILES = 110  # two of most formats and kinds of damage
SURE = {"no signature", "huge", "empty", "locked", "too many pages", "cut before the content", "bytes behind"}


def test_damage_that_can_be_recognised_is_never_wrong() -> None:
    """A file without damage in its content is read whole, and one that is no whole document is refused for its own reason.

    No damage makes the decoder fail, which would be tried again: the result is always pages or a reason.
    """
    figures = measure(FILES)
    assert figures["files"] == FILES
    wrong = [each.partition(", ") for each in figures["wrong_ones"]]
    assert [kind for kind, _, _ in wrong if kind in SURE] == []
    assert {result.rpartition(": ")[2] for _, _, result in wrong} <= {"read", *REASONS}
    assert figures["child_peak_mb"] > 0
