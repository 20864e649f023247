"""A trial of `check`: the jobs that stay queued, because the adapters of the settings or this version cannot do them."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

from supervisor.findings import Finding, Level
from supervisor.monitor.left_queued import REMEDIES, kinds_in_words, troubling
from worker.queue.connection import Connection, DatabaseUnavailable, UnsuitableDatabase, connect
from worker.queue.contract_check import left_queued
from worker.queue.platform_probe import platform_of
from worker.settings import WorkerSettings
from worker.trial import adapter_abilities, undoable_work

NAME = "learning-supervisor check"


def left_jobs(settings: WorkerSettings, exported: Mapping[str, str]) -> Iterator[Finding]:
    """Runs in the child with the service's rights, on its own connection. A database or adapter at fault has a line already."""
    with suppress(DatabaseUnavailable, UnsuitableDatabase), _connect(settings) as connection:
        abilities = adapter_abilities(settings, exported)
        if not abilities:
            return
        platform = platform_of(connection)
        left = troubling(left_queued(connection, abilities.on(platform)))
        for each in left:
            yield Finding(Level.WARNING, f"submissions stay queued: {kinds_in_words([each])}", REMEDIES[each.obstacle])
        for obstacle, work in undoable_work(abilities, platform):
            if obstacle not in {each.obstacle for each in left}:
                yield Finding(Level.WARNING, f"{work} will stay queued", REMEDIES[obstacle])


def _connect(settings: WorkerSettings) -> Connection:
    dsn, allows = settings.learning_database_url.get_secret_value(), settings.allows_service_role
    return connect(dsn, NAME, allows_service_role=allows, pooled=settings.database_pooled)
