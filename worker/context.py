"""Everything of a worker that does not change from job to job."""

from dataclasses import dataclass
from typing import Any

from worker.adapters.loading import ATTEMPT
from worker.admission import Admission
from worker.core.abilities import ABILITIES_OF_2025, Abilities
from worker.core.platform import Platform
from worker.core.practice import Practice
from worker.core.retry import RetryPolicy
from worker.ipc.contract import Step, Wiring
from worker.queue.permits import NO_PERMITS, Permits
from worker.report import Report
from worker.session import Session
from worker.settings import WorkerSettings
from worker.usage import JobUsage
from worker.wakeups import Wakeups


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Built once after the fork, in worker.main."""

    wiring: Wiring
    admission: Admission
    settings: WorkerSettings
    vision_adapter: Any
    feedback_adapter: Any
    feedback_options: frozenset[str]  # of instruction_md, hints_md and attempt, those that the adapter's `analyze` accepts
    model_server: str  # one name for the Ollama server on all hosts that reach it, see worker.ollama.address
    report: Report
    wakeups: Wakeups
    session: Session
    usage: JobUsage
    reads_by_attempt: bool = False  # the vision adapter's `pages` takes the attempt
    practice: Practice | None = None  # the platform's functions, where they can be imported
    abilities: Abilities = ABILITIES_OF_2025  # of the adapters, the functions and the settings

    @property
    def platform(self) -> Platform:
        """The features of the live database."""
        return self.session.platform

    @property
    def abilities_now(self) -> Abilities:
        """The jobs that this worker takes from the live database."""
        return self.abilities.on(self.platform)

    @property
    def retry_policy(self) -> RetryPolicy:
        settings = self.settings
        return RetryPolicy(settings.worker_max_retries, settings.worker_backoff_seconds, settings.worker_max_job_age_seconds)

    def climbs(self, step: Step) -> bool:
        """True if the step's adapter answers a retry by another rung of the ladder."""
        return self.reads_by_attempt if step is Step.VISION else ATTEMPT in self.feedback_options

    def stop_by_seconds(self) -> float | None:
        """Time (monotonic) by which this worker must have ended. None without a request to stop."""
        if self.wakeups.stop_asked_at_seconds is None:
            return None
        control = self.wiring.scoreboard.control.read()
        if control.is_draining:
            return control.drain_by_seconds
        return self.wakeups.stop_asked_at_seconds + self.settings.terminate_grace_seconds

    def permits(self, step: Step, model: str, calls: int) -> Permits:
        """The permits of the step's model, which may have so many calls at once. A stub needs none."""
        if self.settings.is_stub(step.value):
            return NO_PERMITS
        return Permits.of(self.model_server, model, calls, self.admission.lost_permits(step))
