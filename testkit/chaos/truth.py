"""Find the times at which `status` was not true. Pure functions of the record."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from testkit.chaos.intervals import clock
from testkit.chaos.plan import Kind
from testkit.chaos.recovery import progress, workable
from testkit.chaos.run_record import RunRecord, StatusSample

ANSWERS: Final = frozenset({"ok", "degraded", "draining", "down"})

WELL_SECONDS: Final = (
    58.0  # the longest step with these settings: 30 s to read, 10 + 5 + 8 s for a page, 1 s of grace, 4 s of polls
)
SILENT_SECONDS: Final = 30.0  # 15 s until a silent connection ends, 10 s for the last known state, 5 s for the next poll
HEARTBEAT_SECONDS: Final = 15.0  # the supervisor writes its heartbeat every second, and a busy machine may delay some
STEADY_SECONDS: Final = 3  # progress in each second before and after a sample shows that the host works
RECOVERY_SECONDS: Final = 15.0  # after a fault: `status` shows the last state for 10 s, and reconnects after at most 5 s
STOP_SECONDS: Final = 5.0  # from the end of the monitor to the end of the supervisor
SAME_EPISODE_SECONDS: Final = 5.0  # samples with the same untruth are one episode until they pause for longer

HELD_SECONDS: Final = {
    Kind.SILENCE_HOST: SILENT_SECONDS,
    Kind.HANG_NAMES: SILENT_SECONDS,
    Kind.FREEZE_HOST: SILENT_SECONDS,
    Kind.MODEL_SERVER_AWAY: SILENT_SECONDS,
    Kind.FREEZE_SUPERVISOR: HEARTBEAT_SECONDS,
}
"""Faults that hold a host, and the time after which its status must show that its workers make no progress."""
CONCERNS_NO_HOST: Final = frozenset({Kind.MODEL_FAULT, Kind.RELOAD, Kind.RELOAD_WRONG, Kind.RECYCLE, Kind.REFUSE_ROW})


class Untruth(StrEnum):
    """A way in which a status is not true."""

    WELL_WITHOUT_PROGRESS = "well, but nothing made progress although work was possible"
    WELL_ON_A_HELD_HOST = "well, but a fault holds this host and its workers made no progress although work was there"
    DOWN_AT_WORK = "down, but this host works and no fault concerns it"
    NOT_RUNNING_BUT_LIVES = "not running, but its supervisor lives"


@dataclass(frozen=True, slots=True)
class Episode:
    """Samples of one host with the same untruth. `message` is the first one, the times are those of first and last sample."""

    host: str
    untruth: Untruth
    since: float
    until: float
    samples: int
    message: str


def untrue_episodes(record: RunRecord) -> list[Episode]:
    """Return the episodes in the order of their first sample."""
    facts = _Facts.of(record)
    found: list[Episode] = []
    for host in record.hosts:
        samples = sorted((each for each in record.samples if each.host == host), key=lambda sample: sample.at)
        found += _joined((sample, untruth) for sample in samples if (untruth := facts.untruth_of(sample)))
    return sorted(found, key=lambda episode: episode.since)


def _joined(untrue: Iterable[tuple[StatusSample, Untruth]]) -> Iterator[Episode]:
    episode: Episode | None = None
    for sample, untruth in untrue:
        is_same = episode and episode.untruth is untruth and sample.at - episode.until <= SAME_EPISODE_SECONDS
        if episode and is_same:
            episode = replace(episode, until=sample.at, samples=episode.samples + 1)
            continue
        if episode:
            yield episode
        episode = Episode(sample.host, untruth, sample.at, sample.at, 1, sample.message)
    if episode:
        yield episode


@dataclass(frozen=True, slots=True)
class _Facts:
    """`anywhere` and `on_host` are times of progress in order. `worked_seconds` is a clock that runs while work is there."""

    record: RunRecord
    worked_seconds: Callable[[float], float]
    anywhere: list[float]
    on_host: dict[str, list[float]]

    @classmethod
    def of(cls, record: RunRecord) -> "_Facts":
        on_host = {host: progress(record, pids) for host, pids in record.hosts.items()}
        return cls(record, clock(workable(record)), progress(record), on_host)

    def untruth_of(self, sample: StatusSample) -> Untruth | None:
        """Return None for a true status, and for one that the run cannot judge."""
        match sample.state:
            case "ok":
                return self._false_well(sample)
            case "not running":
                return Untruth.NOT_RUNNING_BUT_LIVES if self._lives(sample) else None
            case "down":
                return self._false_down(sample)
        return None

    def _false_well(self, sample: StatusSample) -> Untruth | None:
        if self._idle_seconds(self.anywhere, sample.at) > WELL_SECONDS:
            return Untruth.WELL_WITHOUT_PROGRESS
        idle_seconds = self._idle_seconds(self.on_host[sample.host], sample.at)
        is_held = any(
            fault.at + HELD_SECONDS[fault.kind] < sample.at <= fault.until and idle_seconds > HELD_SECONDS[fault.kind]
            for fault in self.record.injected
            if sample.host in fault.hosts and fault.kind in HELD_SECONDS
        )
        return Untruth.WELL_ON_A_HELD_HOST if is_held else None

    def _false_down(self, sample: StatusSample) -> Untruth | None:
        steps, seconds = self.on_host[sample.host], range(-STEADY_SECONDS, STEADY_SECONDS)
        is_busy = all(_within(steps, sample.at + second, sample.at + second + 1) for second in seconds)
        concerned = any(
            fault.at <= sample.at <= max(fault.until, fault.at) + RECOVERY_SECONDS and fault.kind not in CONCERNS_NO_HOST
            for fault in self.record.injected
            if sample.host in fault.hosts
        )
        return Untruth.DOWN_AT_WORK if is_busy and not concerned else None

    def _lives(self, sample: StatusSample) -> bool:
        """Return True if a supervisor that has answered before exists from the request to the answer."""
        answered_at = max(sample.at, sample.answered_at)
        answers = [each.at for each in self.record.samples if each.host == sample.host and each.state in ANSWERS]
        return any(
            life.began_at < sample.at
            and answered_at < life.ended_at - STOP_SECONDS
            and _within(answers, life.began_at, sample.at)
            for life in self.record.lives
            if life.host == sample.host
        )

    def _idle_seconds(self, steps: list[float], at: float) -> float:
        """Return the seconds with work since the last progress."""
        before = bisect_right(steps, at)
        since = steps[before - 1] if before else self.record.began_at
        return self.worked_seconds(at) - self.worked_seconds(since)


def _within(steps: list[float], since: float, until: float) -> list[float]:
    return steps[bisect_right(steps, since) : bisect_right(steps, until)]
