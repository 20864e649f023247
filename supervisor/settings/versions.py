"""All settings in use, by generation. Each time they are read is a new generation."""

from collections.abc import Callable, Collection

from supervisor.settings.model import Settings, changed_variables
from supervisor.settings.problems import Problem, SettingsError
from worker.queue.dsn import differing_parts


class FixedSettingChanged(SettingsError):
    """Valid settings that cannot change while the supervisor runs."""


class SettingsVersions:
    """A child keeps the generation that it was forked with. `read` reads the settings with the flags of the start."""

    def __init__(self, first: Settings, read: Callable[[], Settings]) -> None:
        self._read, self._newest = read, 0
        self._by_generation = {0: first}

    def of(self, generation: int) -> Settings:
        """The settings of a generation in use."""
        return self._by_generation[generation]

    def read_again(self, in_use: Collection[int | None]) -> int:
        """Read a new generation and drop those not `in_use`. Raises SettingsError, and then nothing has changed."""
        settings = self._read()
        if problems := _fixed(self._by_generation[self._newest], settings):
            raise FixedSettingChanged(problems)
        kept = {number: each for number, each in self._by_generation.items() if number in in_use}
        self._newest += 1
        self._by_generation = {**kept, self._newest: settings}
        return self._newest

    def changed_since(self, generation: int) -> tuple[str, ...]:
        """The variables whose values differ between this generation and the newest one. A value is in no message."""
        return changed_variables(self.of(generation), self.of(self._newest))


def _fixed(before: Settings, after: Settings) -> list[Problem]:
    """Reject a new database or runtime directory, because the instance's lock lies in the one and names the other."""
    remedy = "this cannot change while the supervisor runs: stop and start it"
    problems = []
    if after.worker.database != before.worker.database:
        dsns = (each.worker.learning_database_url.get_secret_value() for each in (before, after))
        parts = ", ".join(differing_parts(*dsns))
        problems.append(
            Problem("LEARNING_DATABASE_URL", "***", f"names another database (another {parts}). {remedy.capitalize()}")
        )
    if after.supervisor.runtime_path != before.supervisor.runtime_path:
        problems.append(Problem("RUNTIME_DIRECTORY", str(after.supervisor.runtime_path), remedy))
    return problems
