"""The addresses of a database's hosts, looked up before libpq is called: its own lookup has no time-out.

A DSN may name several hosts, and each name may have several addresses. They are tried in turn, as libpq does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from psycopg import pq
from psycopg.conninfo import make_conninfo

from worker.names import LOOKUP_SECONDS, NameLookupFailed, NameLookupTimeout, resolve_all, resolve_all_async

CONNECT_SECONDS = 15  # for all addresses together
MAX_ADDRESS_SECONDS, MIN_ADDRESS_SECONDS = 5, 2  # for one address. libpq takes no less than 2
MAX_ADDRESSES = CONNECT_SECONDS // MIN_ADDRESS_SECONDS

Options = dict[str, str | int]
Found = Mapping[str, tuple[str, ...] | NameLookupFailed]


@dataclass(frozen=True, slots=True)
class _Target:
    """One server to try. A socket in the file system has no address, and libpq's default socket has no host either."""

    host: str
    address: str
    port: str

    @property
    def needs_address(self) -> bool:
        return bool(self.host) and not self.address and self.host[0] not in "/@"


def host_options(dsn: str) -> Options:
    """Return the DSN's hosts as libpq's options, each with its address, and the time-out of one address.

    Raises NameLookupFailed if no host has an address.
    """
    named = _named(dsn)
    names = _names(named)
    return _options(named, dict(zip(names, resolve_all(names, LOOKUP_SECONDS), strict=True)))


async def host_options_async(dsn: str) -> Options:
    """The same for an event loop."""
    named = _named(dsn)
    names = _names(named)
    return _options(named, dict(zip(names, await resolve_all_async(names, LOOKUP_SECONDS), strict=True)))


def _named(dsn: str) -> list[_Target]:
    """The servers that the DSN, the environment and a service file name.

    Only libpq reads all three. It reports them for an attempt to connect, which the invalid option ends before any lookup.
    """
    attempt = pq.PGconn.connect_start(make_conninfo(dsn, sslmode="-").encode())
    values = {option.keyword: (option.val or b"").decode() for option in attempt.info}
    attempt.finish()
    hosts, addresses, ports = (values.get(key, "").split(",") for key in (b"host", b"hostaddr", b"port"))
    count = max(len(hosts), len(addresses))
    if not {len(hosts), len(addresses), len(ports)} <= {1, count}:
        return []  # libpq refuses it with a message of its own
    return [_Target(*each) for each in zip(*(_repeated(part, count) for part in (hosts, addresses, ports)), strict=True)]


def _repeated(values: list[str], count: int) -> list[str]:
    return values if len(values) == count else values * count


def _names(named: Sequence[_Target]) -> list[str]:
    return list(dict.fromkeys(target.host for target in named if target.needs_address))


def _options(named: Sequence[_Target], found: Found) -> Options:
    targets = [each for target in named for each in _with_addresses(target, found)][:MAX_ADDRESSES]
    if not targets and named:
        raise _first_failure(found)
    seconds = min(MAX_ADDRESS_SECONDS, CONNECT_SECONDS // max(1, len(targets)))
    if not any(target.host or target.address for target in targets):
        return {"connect_timeout": seconds}
    columns = zip(*((target.host, target.address, target.port) for target in targets), strict=True)
    host, hostaddr, port = (",".join(column) for column in columns)
    return {"host": host, "hostaddr": hostaddr, "port": port, "connect_timeout": seconds}


def _with_addresses(target: _Target, found: Found) -> list[_Target]:
    """The target once for each address of its name, or none if the lookup failed."""
    if not target.needs_address:
        return [target]
    addresses = found[target.host]
    return [] if isinstance(addresses, NameLookupFailed) else [replace(target, address=address) for address in addresses]


def _first_failure(found: Found) -> NameLookupFailed:
    """Prefer a time-out, because it shows more of the name servers than an unknown name."""
    failures = [each for each in found.values() if isinstance(each, NameLookupFailed)]
    return next((each for each in failures if isinstance(each, NameLookupTimeout)), failures[0])
