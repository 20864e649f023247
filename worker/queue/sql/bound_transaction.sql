-- Sets the timeouts and planner settings of one transaction behind a transaction pooler. They end with the transaction. The
-- reasons for the planner settings are in open_session.sql. No table is read.
select set_config('statement_timeout', %(statement_timeout_ms)s::text, true),
    set_config('lock_timeout', %(lock_timeout_ms)s::text, true),
    set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
    set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true),
    set_config('datestyle', 'ISO', true)
