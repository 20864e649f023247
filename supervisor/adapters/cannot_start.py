"""The error for surroundings in which the supervisor cannot start."""

from supervisor.exit_codes import EX_CONFIG


class CannotStart(Exception):
    """The message is one line with the remedy. A service manager finds in `exit_code` if a restart can help."""

    exit_code = EX_CONFIG
