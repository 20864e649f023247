-- Behind a transaction pooler each transaction brings its own bounds, and how to plan (see open_session.sql): they end with it.
select set_config('statement_timeout', %(statement_timeout_ms)s::text, true),
    set_config('lock_timeout', %(lock_timeout_ms)s::text, true),
    set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
    set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true),
    set_config('datestyle', 'ISO', true)
