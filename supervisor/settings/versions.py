"""The settings by generation, one for each time they were read: what a child is forked with and what the rules go by."""

from collections.abc import Callable, Collection

from supervisor.settings.model import Problem, Settings, SettingsError


class SettingsVersions:
    """`read` reads the settings again as the start did, with the flags that were given then."""

    def __init__(self, first: Settings, read: Callable[[], Settings]) -> None:
        self._read, self._newest = read, 0
        self._by_generation = {0: first}

    def of(self, generation: int) -> Settings:
        return self._by_generation[generation]

    def read_again(self, in_use: Collection[int | None]) -> int:
        """The new generation; those that are not in use any more are forgotten. Raises SettingsError: nothing has changed."""
        settings = self._read()
        if problems := _fixed(self._by_generation[self._newest], settings):
            raise SettingsError(problems)
        kept = {number: each for number, each in self._by_generation.items() if number in in_use}
        self._newest += 1
        self._by_generation = {**kept, self._newest: settings}
        return self._newest


def _fixed(before: Settings, after: Settings) -> list[Problem]:
    """The instance's lock lies in the runtime directory and names the database: neither changes while it is held."""
    remedy = "this cannot change while it runs: stop and start"
    problems = []
    if after.worker.database != before.worker.database:
        problems.append(Problem("LEARNING_DATABASE_URL", "***", f"names another database; {remedy}"))
    if after.supervisor.runtime_path != before.supervisor.runtime_path:
        problems.append(Problem("RUNTIME_DIRECTORY", str(after.supervisor.runtime_path), remedy))
    return problems
