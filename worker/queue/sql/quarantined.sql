-- Keeps the counts of a quarantined job aside, so that it is a fresh job if an administrator puts it back: an expression over `payload`,
-- which is an object. Part of other statements.
payload - array['crashes', 'expiries', 'suspect'] || jsonb_build_object('quarantined', jsonb_strip_nulls(
    jsonb_build_object('crashes', payload -> 'crashes', 'expiries', payload -> 'expiries')))
