-- Lists each lease that still runs, with its instance and the time until its end, and each session of a monitor, with its instance
-- and the time since its last statement. A lease key begins with the number of its instance, and the name of a monitor's session
-- ends with it. Keys of another version are those of other programs. For a session of a role that this one is no member of, the
-- server shows no time. Index (status, visible_at): there are only as many leased rows as workers.
select left(lease_key::text, 8) as instance, false as is_session, null as address, null::float8 as quiet_seconds,
    (extract(epoch from leased_until) - extract(epoch from clock_timestamp()))::float8 as remaining_seconds
from public.learning_submission_jobs
where status = 'leased' and leased_until > clock_timestamp() and isfinite(leased_until) and substr(lease_key::text, 15, 1) = '8'
union all
select right(application_name, 8), true, host(client_addr),
    (extract(epoch from clock_timestamp()) - extract(epoch from state_change))::float8, null::float8
from pg_stat_activity
where datname = current_database() and application_name ~ '^learning-supervisor monitor [0-9a-f]{8} instance [0-9a-f]{8}$'
