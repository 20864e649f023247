"""The CA certificates with which the clients of Ollama and of the object store verify a server."""

from supervisor.adapters.cannot_start import CannotStart
from worker.ollama.transport import trusted_authorities


def ensure_authorities() -> None:
    """Load the certificates once, before the forks, for all children. Raises CannotStart."""
    try:
        trusted_authorities()
    except OSError as error:  # a missing or unreadable file, and ssl.SSLError
        remedy = "install the package certifi again in the environment of this program"
        raise CannotStart(f"the CA certificates cannot be read ({type(error).__name__}): {remedy}") from error
