"""The numbers of the systemd unit fit those of the settings and the rules."""

import re
from pathlib import Path

from supervisor import exit_codes
from supervisor.core.policy import Policy

UNIT = (Path(__file__).parents[2] / "systemd/learning-supervisor.service").read_text()


def number(name: str) -> int:
    (found,) = re.findall(rf"^{name}=(\d+)$", UNIT, re.MULTILINE)
    return int(found)


def test_systemd_waits_for_the_end_of_a_stop() -> None:
    """With default settings systemd kills no process before the drain is over and the leases are reclaimed (invariant 2)."""
    policy = Policy()
    assert number("TimeoutStopSec") > policy.drain_timeout_seconds + 2 * policy.tick_seconds + policy.reclaim_seconds


def test_systemd_does_not_restart_after_a_wrong_configuration() -> None:
    """The exit code of a rejected configuration is the one that the unit names."""
    assert number("RestartPreventExitStatus") == exit_codes.EX_CONFIG
