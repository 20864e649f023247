-- First statement of a connection: detects a transaction pooler and, without one, sets up the session. No table is read.
-- A transaction pooler reports an invented backend pid to its clients. Behind one, a setting would stay in a session that the
-- next client uses, so nothing is set.
-- - Planner settings: each statement must walk an index. A plan made for a short queue would be kept for a long one.
-- - client_connection_check_interval: the server checks every 50 ms whether its client still exists, on Linux only. Otherwise a
--   statement that waited for a lock could commit after its sender had died and the monitor had searched for its effect.
-- - tcp_…: the server notices within 15 s that a silent host is gone, and releases the locks of its sessions. The defaults of
--   Linux are two hours. On a Unix socket and where the system has no such setting the server ignores them.
-- - idle_session_timeout and transaction_timeout (new in 17) override settings of the role: a listener is idle for hours, and a
--   permit's session for as long as a model computes.
-- - default_transaction_isolation: the fences are written for read committed.
-- - datestyle: a position in the queue is sent back as text and must be read as the same time.
with session as materialized (
    select %(is_trusted)s::boolean or pg_backend_pid() = %(backend_pid)s::int as is_own
)
select is_own,
    case when is_own then set_config('statement_timeout', %(statement_timeout_ms)s::text, false) end as statement_timeout_ms,
    case when is_own then set_config('lock_timeout', %(lock_timeout_ms)s::text, false) end as lock_timeout_ms,
    case when is_own then set_config('enable_seqscan', 'off', false) end as reads_tables,
    case when is_own then set_config('enable_sort', 'off', false) end as sorts,
    case when is_own then set_config('enable_bitmapscan', 'off', false) end as gathers,
    case when is_own then set_config('jit', 'off', false) end as compiles,
    case when is_own and version() like '%%linux%%'
        then set_config('client_connection_check_interval', '50ms', false) end as looks_for_its_client,
    case when is_own then set_config('tcp_keepalives_idle', '5', false) end as probes_after,
    case when is_own then set_config('tcp_keepalives_interval', '2', false) end as probes_every,
    case when is_own then set_config('tcp_keepalives_count', '3', false) end as probes,
    case when is_own then set_config('tcp_user_timeout', '15s', false) end as waits_for_its_client,
    case when is_own then set_config('idle_session_timeout', '0', false) end as idle_session_timeout,
    case when is_own and current_setting('transaction_timeout', true) is not null
        then set_config('transaction_timeout', '0', false) end as transaction_timeout,
    case when is_own then set_config('default_transaction_isolation', 'read committed', false) end as isolation,
    case when is_own then set_config('datestyle', 'ISO', false) end as datestyle
from session
