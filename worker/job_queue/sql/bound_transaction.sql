-- Behind a transaction pooler each transaction brings its own bounds: they end with it.
select set_config('statement_timeout', %(statement_timeout_ms)s::text, true),
    set_config('lock_timeout', %(lock_timeout_ms)s::text, true),
    set_config('datestyle', 'ISO', true)
