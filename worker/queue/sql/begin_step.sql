-- Renews the lease for a step. If the lease is still valid, tries to take one of the model's permits in the same round trip.
-- The commit does not wait for the disk. If a crash of the server undoes the renewal, the lease only ends earlier.
-- Primary key. generate_series is read row by row and `limit 1` ends it, so the first free number is locked and no second.
with renewed as (
    update public.learning_submission_jobs
    set leased_until = clock_timestamp() + make_interval(secs => %(lease_seconds)s), updated_at = clock_timestamp()
    where id = %(job_id)s and lease_key = %(lease_key)s
    returning id
)
select exists (select from renewed) as is_ours, set_config('synchronous_commit', 'off', true),
    case when exists (select from renewed) then (
        select number
        from generate_series(1, %(permits)s::int) as number
        where pg_try_advisory_lock(%(permit_key)s::int, number)
        limit 1
    ) end as permit
