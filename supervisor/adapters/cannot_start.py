"""The error for surroundings in which the supervisor cannot start."""

from supervisor.exit_codes import EX_CONFIG


class CannotStart(Exception):
    """The message is one line with the remedy. `exit_code` tells a service manager if a restart can help."""

    exit_code = EX_CONFIG
