"""Change a submission after it was entered, so that file, row and payload contradict each other."""

import os
from collections.abc import Callable

from testkit.inputs.input import Entered
from testkit.submissions import BUCKET

OUTSIDE = "outside-the-root.png"


def empty(entered: Entered) -> None:
    entered.path.write_bytes(b"")


def longer(entered: Entered) -> None:
    with entered.path.open("ab") as file:
        file.write(b"\0")


def altered(entered: Entered) -> None:
    """Change a byte and keep the length."""
    content = entered.path.read_bytes()
    entered.path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def missing(entered: Entered) -> None:
    entered.path.unlink()


def beside_the_root(entered: Entered) -> None:
    """Let the storage key name an existing file with the right content outside of the root."""
    outside = entered.storage_root.parent / OUTSIDE
    outside.write_bytes(entered.path.read_bytes())
    entered.change_row("storage_key = %s", f"{BUCKET}/../../{OUTSIDE}")


def absolute_outside(entered: Entered) -> None:
    outside = entered.storage_root.parent / f"absolute-{OUTSIDE}"
    outside.write_bytes(entered.path.read_bytes())
    entered.change_row("storage_key = %s", str(outside))


def linked_outside(entered: Entered) -> None:
    outside = entered.storage_root.parent / f"linked-{OUTSIDE}"
    entered.path.rename(outside)
    entered.path.symlink_to(outside)


def fifo(entered: Entered) -> None:
    """Replace the file by a pipe. A plain open of it would block forever."""
    entered.path.unlink()
    os.mkfifo(entered.path)


def other_pupil(entered: Entered) -> None:
    """Change the pupil in the payload, so that row security hides the submission from its job."""
    entered.merge_payload({"student_sub": "schueler-9999"})


def payload(value: object) -> Callable[[Entered], None]:
    return lambda entered: entered.set_payload(value)


def without(*names: str) -> Callable[[Entered], None]:
    return lambda entered: entered.drop_from_payload(*names)


def with_payload(**values: object) -> Callable[[Entered], None]:
    return lambda entered: entered.merge_payload(values)
