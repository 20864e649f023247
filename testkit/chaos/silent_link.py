"""The network between a host and the database server: every packet of the host's present address can be dropped silently."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from testkit.far_host import FarHost
from testkit.pg_proxy import ProxyProcess


@dataclass(slots=True)
class SilentLink:
    """A proxy behind it has connections from one address. A new address is a host that has come back with other connections."""

    far: FarHost
    proxy: ProxyProcess
    is_silent: bool = False
    _numbers: Iterator[int] = field(default_factory=count)
    _address: str = ""

    def __post_init__(self) -> None:
        self.move()

    def silence(self) -> None:
        self.far.silence(self._address)
        self.is_silent = True

    def heal(self) -> None:
        """Pass all packets again, also those of connections that are still open on one side only."""
        self.far.hear(self._address)
        self.is_silent = False

    def move(self) -> None:
        """Use a new address for new connections. Those of a silenced address stay silent for ever."""
        self._address = self.far.add_address(next(self._numbers))
        self.proxy.send(f"from {self._address}")
        self.is_silent = False
