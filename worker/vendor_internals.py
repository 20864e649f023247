"""The two private names of libraries that the product uses, because there is no public one for the same thing.

No other module may use a private name of a library. An upgrade can change one without notice, so
tests/core/test_vendor_internals.py checks each against the installed version.
"""

import httpcore
import httpx
import psycopg

# psycopg 3.3, the oldest version that is allowed: raised by `Connection.wait` when its `timeout` has passed. psycopg itself
# converts the exception in its own methods and gives it no public name. Catching its public base class, OperationalError, would
# also catch every error that the server reports.
WaitTimeout = psycopg.errors._WaitTimeout


def set_connection_pool(transport: httpx.HTTPTransport, pool: httpcore.ConnectionPool) -> None:
    """Replace the pool of a new transport, which must not have sent a request yet.

    httpx 0.28, the oldest version that is allowed, has no parameter for httpcore's network backend. Only such a backend can give
    each single read and write a timeout of its own. Building a transport on httpcore alone would need httpx's private table that
    converts httpcore's exceptions.
    """
    transport._pool = pool
