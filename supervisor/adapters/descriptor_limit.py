"""The limit of open files (RLIMIT_NOFILE), which must have room for the descriptors of all slots."""

import resource

from supervisor.adapters.cannot_start import CannotStart
from worker.ipc.scoreboard import MAX_SLOTS

OPEN_FILES_NEEDED = 3 * MAX_SLOTS + 64  # a wake-up and a socket pair of each slot, and the supervisor's or the monitor's own


def ensure_descriptors() -> None:
    """Raise the soft limit to what is needed, as any process may do up to its hard limit. Raises CannotStart."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES_NEEDED:
        return
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES_NEEDED:
        raise CannotStart(
            f"the limit of open files is {hard}, and {OPEN_FILES_NEEDED} are needed: raise it by LimitNOFILE= in the "
            "systemd unit, --ulimit nofile= of the container, or `ulimit -n` in the shell"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES_NEEDED, hard))
