"""The settings as documents show them: .env.example and the README's table, both made from the fields' own defaults and help."""

from collections.abc import Iterable

from supervisor.settings.model import Setting, all_settings

TABLE_BEGIN = "<!-- settings: written by scripts/settings -->"
TABLE_END = "<!-- settings: end -->"
_ALL = tuple(all_settings())

_HEAD = """\
# The settings of learning-supervisor. Written by scripts/settings from the fields of supervisor/settings/model.py and
# worker/settings.py: change the help there. Copy this file to .env and remove the # before what you set.
# A flag wins over a file in $CREDENTIALS_DIRECTORY, that over the environment, that over .env, that over the default.
# An empty value counts as not set."""

_DEVELOPMENT = """\
# Profile for development: one worker, no model is asked, every feedback is invented.
#
#LEARNING_DATABASE_URL=
#WORKER_CONCURRENCY=1
#AI_BACKEND=stub
#LOG_LEVEL=DEBUG"""

_PRODUCTION = """\
# Profile for production: two workers that ask Ollama; `doctor` says how many are of use on this host.
#
# OLLAMA_NUM_PARALLEL must be the number that the Ollama server itself was started with. It bounds the calls to each model
# over all workers, instances and hosts that share the database and name the server by the same OLLAMA_BASE_URL. A worker
# beyond it waits for its turn, and that wait counts against no timeout.
#
# Timeouts: the defaults are the platform's. A processor without a graphics card is many times slower: `doctor` measures one
# page and one feedback, and names the timeouts that would do. Models are loaded before jobs need them.
# DRAIN_TIMEOUT_SECONDS should be longer than one page and one feedback together, or a stop returns more jobs than it
# finishes; the stop timeout of whatever starts the service must be longer still, by ten seconds.
#
# Files of submissions: either a local directory that holds the buckets, or the object store with its key. The key and the
# database URL are better kept in $CREDENTIALS_DIRECTORY than here.
#
#LEARNING_DATABASE_URL=
#WORKER_CONCURRENCY=2
#AI_BACKEND=local
#OLLAMA_NUM_PARALLEL=2
#AI_TIMEOUT_VISION=120
#AI_TIMEOUT_FEEDBACK=120
#DRAIN_TIMEOUT_SECONDS=300
#STORAGE_VERIFY_ROOT=
#SUPABASE_URL=
#SUPABASE_SERVICE_ROLE_KEY="""


def env_example(settings: Iterable[Setting] = _ALL) -> str:
    """The whole of .env.example: two profiles, then every setting with its default. All of it is commented out."""
    return "\n\n".join((_HEAD, _DEVELOPMENT, _PRODUCTION, *map(_env_lines, settings))) + "\n"


def readme_table(settings: Iterable[Setting] = _ALL) -> str:
    """The README's table in Markdown, one row a setting."""
    return "\n".join(("| Setting | Default | Allowed | Meaning |", "|---|---|---|---|", *map(_row, settings)))


def with_table(readme: str) -> str:
    """The README with a current table between its two comments. Raises ValueError where they are missing."""
    before, begin, rest = readme.partition(TABLE_BEGIN)
    _, end, after = rest.partition(TABLE_END)
    if not (begin and end):
        raise ValueError(f"the README needs the lines {TABLE_BEGIN} and {TABLE_END}")
    return f"{before}{begin}\n\n{readme_table()}\n\n{end}{after}"


def _env_lines(setting: Setting) -> str:
    bound = f" (allowed: {_allowed(setting)})" if setting.bound else ""
    return f"# {setting.help}{bound}\n#{setting.variable}={_default(setting)}"


def _row(setting: Setting) -> str:
    default = f"`{_default(setting)}`" if _default(setting) else ""
    return f"| `{setting.variable}` | {default} | {_allowed(setting)} | {setting.help} |"


def _default(setting: Setting) -> str:
    """A secret is never shown, whatever its default."""
    return "" if setting.is_secret else setting.default


def _allowed(setting: Setting) -> str:
    """Choices are told apart by commas: a bar would end a cell of the table."""
    return setting.bound.replace(" | ", ", ").replace("..", " to ")
