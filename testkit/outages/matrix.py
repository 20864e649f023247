"""The requests of workers and monitor, the ways in which each can fail, and how long and when it does."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Target(Enum):
    """The part of the surroundings that fails, with the words of which `status` must use at least one."""

    MODEL_SERVER = "Ollama|model|qwen|gpt-oss"
    STORE = "store|storage|SUPABASE|file"
    ROOT = "store|storage|STORAGE|director|file"
    NAMES = "name"
    DATABASE = "database|Database|SQLSTATE|[Ss]tatement|lock"


class Request(Enum):
    """One kind of request. A server's own name stands for all requests to it."""

    MODEL_SERVER = "model_server", Target.MODEL_SERVER
    TAGS = "tags", Target.MODEL_SERVER
    PS = "ps", Target.MODEL_SERVER
    SHOW = "show", Target.MODEL_SERVER
    PRELOAD = "preload", Target.MODEL_SERVER
    UNLOAD = "unload", Target.MODEL_SERVER
    VISION = "vision", Target.MODEL_SERVER
    FEEDBACK = "feedback", Target.MODEL_SERVER
    STORE = "store", Target.STORE
    ROOT = "root", Target.ROOT
    NAME_OF_MODEL_SERVER = "name_of_model_server", Target.NAMES
    NAME_OF_STORE = "name_of_store", Target.NAMES
    NAME_OF_DATABASE = "name_of_database", Target.NAMES
    DATABASE = "database", Target.DATABASE
    LEASE = "lease", Target.DATABASE
    READ = "read", Target.DATABASE
    CHECKPOINT = "checkpoint", Target.DATABASE
    PERMIT = "permit", Target.DATABASE
    SETTLE = "settle", Target.DATABASE
    POLL = "poll", Target.DATABASE
    LISTEN = "listen", Target.DATABASE
    RECLAIM = "reclaim", Target.DATABASE

    def __init__(self, word: str, target: Target) -> None:
        self.word, self.target = word, target


class Kind(Enum):
    """The kinds of failure."""

    AWAY = "away"
    SILENT = "silent"
    REFUSING = "refusing"
    LYING = "lying"
    LIMITED = "limited"


class Way(Enum):
    """One way to fail, of one kind. The members with a status are replies of a server."""

    REFUSED = "refused", Kind.AWAY  # no connection can be made
    RESET = "reset", Kind.AWAY  # the connection ends in place of the answer
    SILENT = "silent", Kind.SILENT  # the connection stays open, and no answer comes
    STATUS_401 = "status_401", Kind.REFUSING
    STATUS_403 = "status_403", Kind.REFUSING
    STATUS_404 = "status_404", Kind.REFUSING  # the model or the bucket is not there, and no list has it
    STATUS_500 = "status_500", Kind.REFUSING
    STATUS_503 = "status_503", Kind.LIMITED
    STATUS_429 = "status_429", Kind.LIMITED
    RETRY_AFTER = "retry_after", Kind.LIMITED  # 429 with Retry-After
    GARBAGE = "garbage", Kind.LYING  # 200, and no JSON
    CUT = "cut", Kind.LYING  # the first half of a reply
    PAGE = "page", Kind.LYING  # 200 and a whole page of HTML
    REDIRECT = "redirect", Kind.LYING
    MISSING = "missing", Kind.AWAY  # the root is not there
    EMPTY = "empty", Kind.LYING  # the root is there without a file, as a directory whose file system is not mounted
    NO_DIRECTORY = "no_directory", Kind.REFUSING
    UNREADABLE = "unreadable", Kind.REFUSING  # rights
    HUNG = "hung", Kind.SILENT  # a disk without an answer, or a lookup that does not end
    UNKNOWN = "unknown", Kind.REFUSING  # the name has no address
    LOST = "lost", Kind.LYING  # the statement is done, and its answer is lost
    NO_LOGIN = "no_login", Kind.REFUSING
    CROWDED = "crowded", Kind.LIMITED  # the role has no connection left
    READ_ONLY = "read_only", Kind.REFUSING
    REVOKED = "revoked", Kind.REFUSING  # the right to do it
    TABLE_LOCK = "table_lock", Kind.REFUSING
    ROW_LOCK = "row_lock", Kind.REFUSING  # on one submission or one job

    def __init__(self, word: str, kind: Kind) -> None:
        self.word, self.kind = word, kind


_REPLIES = (Way.RESET, Way.SILENT, Way.STATUS_500, Way.GARBAGE, Way.CUT, Way.STATUS_503, Way.STATUS_429, Way.RETRY_AFTER)
_STATEMENT = (Way.RESET, Way.SILENT, Way.LOST)
WAYS: Final[Mapping[Request, tuple[Way, ...]]] = {
    Request.MODEL_SERVER: (Way.REFUSED, *_REPLIES),
    Request.TAGS: _REPLIES,
    Request.PS: _REPLIES,
    Request.SHOW: (Way.RESET, Way.SILENT, Way.STATUS_500),  # once in a process and model, so few cases meet them
    Request.PRELOAD: _REPLIES,
    Request.UNLOAD: _REPLIES,
    Request.VISION: (*_REPLIES, Way.STATUS_404),
    Request.FEEDBACK: (*_REPLIES, Way.STATUS_404),
    Request.STORE: (
        *(Way.REFUSED, Way.RESET, Way.SILENT, Way.STATUS_401, Way.STATUS_403, Way.STATUS_404, Way.STATUS_500),
        *(Way.STATUS_503, Way.STATUS_429, Way.RETRY_AFTER, Way.CUT, Way.PAGE, Way.REDIRECT),
    ),
    Request.ROOT: (Way.MISSING, Way.EMPTY, Way.NO_DIRECTORY, Way.UNREADABLE, Way.HUNG),
    Request.NAME_OF_MODEL_SERVER: (Way.HUNG, Way.UNKNOWN),
    Request.NAME_OF_STORE: (Way.HUNG, Way.UNKNOWN),
    Request.NAME_OF_DATABASE: (Way.HUNG, Way.UNKNOWN),
    Request.DATABASE: (Way.REFUSED, Way.SILENT, Way.NO_LOGIN, Way.CROWDED, Way.READ_ONLY, Way.REVOKED, Way.TABLE_LOCK),
    Request.LEASE: _STATEMENT,
    Request.READ: (*_STATEMENT, Way.REVOKED),
    Request.CHECKPOINT: (*_STATEMENT, Way.ROW_LOCK),
    Request.PERMIT: _STATEMENT,
    Request.SETTLE: (*_STATEMENT, Way.REVOKED, Way.ROW_LOCK),
    Request.POLL: _STATEMENT,
    Request.LISTEN: _STATEMENT,
    Request.RECLAIM: _STATEMENT,
}
"""`away, silent, refusing, lying, limited` for each request, as far as it can meet them."""


class Length(Enum):
    """The length of an outage in operation, in seconds."""

    SHORT = 3
    MEDIUM = 120
    LONG = 1200


class Moment(Enum):
    """The jobs that an outage meets: the first of new workers, those in the middle, the last one."""

    FIRST = "first"
    MIDDLE = "middle"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of the matrix."""

    request: Request
    way: Way
    length: Length
    moment: Moment

    @property
    def name(self) -> str:
        return f"{self.request.word}/{self.way.word}/{self.length.value}s/{self.moment.value}"

    @property
    def is_lock(self) -> bool:
        return self.way in {Way.ROW_LOCK, Way.TABLE_LOCK}
