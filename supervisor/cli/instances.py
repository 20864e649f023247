"""The instances of a runtime directory as a command finds them: answering, silent, or without a monitor at this moment."""

import os
from pathlib import Path

from supervisor.adapters.instance import is_alive
from supervisor.adapters.running_supervisors import RunningSupervisor, are_all_visible, running_supervisors
from supervisor.adapters.runtime_directory import StateUnknown, control_socket, known_instances, user_name
from supervisor.cli.control_socket import STATUS_TIMEOUT_SECONDS, Document, Silence, read_status
from supervisor.exit_codes import ATTENTION_NEEDED, NO_PERMISSION
from supervisor.settings.model import default_runtime_path

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

    Raises StateUnknown, also if there is none and an instance on this host may be the one in question.
    """
    found = {number: _document(directory, number) for number in known_instances(directory)}
    running = {number: document for number, document in found.items() if document is not None}
    if not running and (others := [each for each in running_supervisors() if _may_be_meant(each, directory)]):
        raise StateUnknown(_elsewhere(directory, others), _code(others))
    return running


def not_running(directory: Path) -> str:
    """Return the message about a directory without an instance, with the search that was made."""
    others = "; ".join(map(str, running_supervisors()))
    elsewhere = f"Other instances run on this host: {others}." if others else "No other instance was found on this host."
    hidden = "" if are_all_visible() else " Processes of other users are hidden here, so one of them may run."
    return (
        f"Not running: no instance of {user_name(os.getuid())} in {directory}. {elsewhere}{hidden} If the service has a settings "
        "file, name it with --env-file. If it runs in a container or on another host, run the command there."
    )


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


def _may_be_meant(supervisor: RunningSupervisor, directory: Path) -> bool:
    """Report whether the command may be about this supervisor. Without RUNTIME_DIRECTORY each user has another directory."""
    return directory == default_runtime_path() or supervisor.directory in {None, directory.resolve()}


def _elsewhere(directory: Path, supervisors: list[RunningSupervisor]) -> str:
    return (
        f"The service runs on this host ({'; '.join(map(str, supervisors))}), but not as an instance of "
        f"{user_name(os.getuid())} in {directory}, so its state is unknown. Do not start it again. Run the command as the user "
        "of the service, with its settings file (--env-file) or its RUNTIME_DIRECTORY."
    )


def _code(supervisors: list[RunningSupervisor]) -> int:
    """Return the code of a missing right only if no supervisor is this user's."""
    is_allowed = os.getuid() in {0, *(each.uid for each in supervisors)}
    return ATTENTION_NEEDED if is_allowed else NO_PERMISSION
