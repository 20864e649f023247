-- The first statement of a connection. Is the session ours alone? Then it gets its bounds. A transaction pooler tells its
-- clients of a backend of its own invention; behind one, what is set for a session would stay with whoever uses it next.
-- And the server looks every 50 ms whether its client is still there: a statement that waited for a lock would else be
-- committed for nobody, after its sender has looked in vain for what it did (0.05 s later at the earliest). Not every
-- system's kernel tells a server that. What may be set for the role is set back where it would break us: a listener, and the
-- holder of a permit, are idle for as long as a model thinks; the fences are made for read committed; a place in the queue is
-- told in a style that is read back as the same. transaction_timeout is new in 17.
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
    case when is_own then set_config('idle_session_timeout', '0', false) end as idle_session_timeout,
    case when is_own and current_setting('transaction_timeout', true) is not null
        then set_config('transaction_timeout', '0', false) end as transaction_timeout,
    case when is_own then set_config('default_transaction_isolation', 'read committed', false) end as isolation,
    case when is_own then set_config('datestyle', 'ISO', false) end as datestyle
from session
