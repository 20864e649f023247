"""`scale`, `recycle` and `reload`: find the instance, hand the order over, say what becomes of it."""

from dataclasses import dataclass
from pathlib import Path

from supervisor import exit_codes
from supervisor.adapters.instance import live_sockets
from supervisor.cli import control_socket
from supervisor.cli.control_socket import Document

START_REMEDY = "Start it, or name the settings file it was started with by --env-file."
BUSY_NOTE = "nobody is interrupted in a job"


@dataclass(frozen=True, slots=True)
class CommandReply:
    """What the command prints, and how it ends."""

    text: str
    exit_code: int = exit_codes.OK


def place(directory: Path, instance: str | None, route: str, body: Document) -> CommandReply:
    """To the only instance that answers in the directory, or to the named one."""
    found = {path.stem: path for path in live_sockets(directory) if control_socket.status(path) is not None}
    if instance is None and len(found) > 1:
        return CommandReply(f"Several instances answer: name one by --instance: {', '.join(sorted(found))}.", exit_codes.USAGE)
    socket = found.get(instance) if instance else next(iter(found.values()), None)
    if socket is None:
        return CommandReply(_not_running(directory, instance), exit_codes.NOT_RUNNING)
    answer = control_socket.order(socket, route, body)
    if answer is None:
        return CommandReply("The instance has not answered: look at its status, and try again.", exit_codes.NOT_RUNNING)
    return _reply(route, body, answer[1])


def _not_running(directory: Path, instance: str | None) -> str:
    if instance:
        return f"Not running: no such instance answers in {directory}. `status` has the numbers of those that do."
    return f"Not running: no instance answers in {directory}. {START_REMEDY}"


def _reply(route: str, body: Document, document: Document) -> CommandReply:
    match document.get("outcome"):
        case "accepted":
            return CommandReply(_accepted(route, body, document["workers"]))
        case "stopping":
            return CommandReply("Refused: it has been asked to stop.", exit_codes.COMMAND_REJECTED)
        case "no_worker":
            missing = ", ".join(document["names"])
            return CommandReply(
                f"Refused: no worker in slot {missing}." if missing else "Refused: no worker runs.", exit_codes.COMMAND_REJECTED
            )
        case "wrong_settings":
            wrong = f"Wrong: {', '.join(document['names'])}. `check` and the log have the remedies."
            return CommandReply(f"Refused, the old settings stay in use. {wrong}", exit_codes.EX_CONFIG)
        case _:
            return CommandReply(
                f"Refused: {'; '.join(document.get('problems', ())) or 'no reason given'}.", exit_codes.COMMAND_REJECTED
            )


def _accepted(route: str, body: Document, workers: int) -> str:
    wanted = "1 worker" if workers == 1 else f"{workers} workers"
    match route:
        case "/scale":
            return f"{wanted} from now on; {BUSY_NOTE}."
        case "/recycle":
            slots = body["slots"]
            named = f"all {wanted}" if slots == "all" else f"worker {', '.join(str(slot) for slot in slots)}"
            return f"Replacing {named}{_in_turn(workers if slots == 'all' else len(slots))}; {BUSY_NOTE}."
        case _:
            return f"The settings are right, and go to {wanted}{_in_turn(workers)}; {BUSY_NOTE}."


def _in_turn(workers: int) -> str:
    return ", one after the other" if workers > 1 else ""
