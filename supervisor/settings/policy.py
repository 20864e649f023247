"""The policy of the supervisor's rules, built from the settings."""

from supervisor.core.policy import Policy
from supervisor.settings.model import Settings
from worker.ipc.contract import Activity, Step
from worker.timeouts import longest_step_seconds


def policy_of(settings: Settings) -> Policy:
    """Return the settings' numbers as the rules take them. Numbers without a setting keep the policy's defaults."""
    own = settings.supervisor
    return Policy(
        boot_timeout_seconds=own.boot_timeout_seconds,
        terminate_grace_seconds=settings.worker.terminate_grace_seconds,
        drain_timeout_seconds=own.drain_timeout_seconds,
        drain_shortened_seconds=own.drain_shortened_seconds,
        backoff_seconds=own.restart_backoff_seconds,
        backoff_max_seconds=own.restart_backoff_max_seconds,
        healthy_after_seconds=own.healthy_after_seconds,
        restart_window_seconds=own.restart_window_seconds,
        restart_intensity=own.restart_intensity,
        memory_soft_bytes=own.worker_memory_soft_bytes,
        memory_hard_bytes=own.worker_memory_hard_bytes,
        minimum_lifetime_seconds=own.worker_minimum_lifetime_seconds,
        longest_step_seconds=longest_step_seconds(settings.worker),
        foreign_calls=frozenset(Activity[step.name] for step in Step if settings.worker.is_foreign(step.value)),
    )
