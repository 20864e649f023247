"""The instances of a runtime directory as a command finds them: answering, silent, or without a monitor at this moment."""

from pathlib import Path

from supervisor.adapters.instance import is_alive
from supervisor.adapters.runtime_directory import control_socket, known_instances
from supervisor.cli.control_socket import STATUS_TIMEOUT_SECONDS, Document, Silence, read_status

_NO_ANSWER = (
    f"The service runs, but its monitor has not answered for {STATUS_TIMEOUT_SECONDS:.0f} s, so its state is unknown. Do not "
    "start it again. The supervisor replaces a monitor that hangs, within two minutes. If this stays, restart the service."
)
_NO_MONITOR = (
    "The service runs, but its monitor does not listen at the moment, so the state is unknown. Do not start it again. It is "
    "starting, stopping, or its monitor is being replaced. If this stays for a minute, restart the service."
)


def documents(directory: Path) -> dict[int, Document]:
    """Return the status document of each instance that runs, by number. That of a silent one has only a state and a message.

    Raises RuntimeDirectoryForbidden.
    """
    found = {number: _document(directory, number) for number in known_instances(directory)}
    return {number: document for number, document in found.items() if document is not None}


def is_silent(document: Document) -> bool:
    """Report whether the instance runs and gave no answer."""
    return "queue" not in document


def _document(directory: Path, number: int) -> Document | None:
    """Return None for a dead instance. A socket may outlive its supervisor, and the lock does not."""
    answer = read_status(control_socket(directory, number))
    if not isinstance(answer, Silence):
        return answer
    if not is_alive(directory, number):
        return None
    message = _NO_MONITOR if answer is Silence.NO_LISTENER else _NO_ANSWER
    return {"instance": f"{number:08x}", "state": "degraded", "message": message}
