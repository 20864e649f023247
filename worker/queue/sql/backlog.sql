-- Counts the jobs at the front of the queue by the model that they need next, and measures the age of the oldest.
-- These are the same rows, and the same rule for the next model, as in lease_past_closed_gates.sql. Expired leases count as
-- waiting jobs. Jobs with an obstacle do not count, nor do `refused_job_ids`: the database refuses their rows, and their payloads may
-- be damaged.
-- Index (status, visible_at), two bounded walks: there are only as many leased rows as workers.
select
    count(*) filter (where needs_vision)::int as vision_jobs,
    count(*) filter (where not needs_vision)::int as feedback_jobs,
    coalesce(extract(epoch from clock_timestamp() - min(visible_at) filter (where needs_vision)), 0)::float8
        as vision_oldest_seconds,
    coalesce(extract(epoch from clock_timestamp() - min(visible_at) filter (where not needs_vision)), 0)::float8
        as feedback_oldest_seconds
from (
    select greatest(visible_at, '2000-01-01') as visible_at,
        coalesce(payload ->> 'kind', '') not in ('text', 'dialog') and payload ->> 'cached_text_md' is null as needs_vision
    from (
        (select visible_at, payload from public.learning_submission_jobs
            where status = 'queued' and visible_at <= now()
                and case when id = any(%(refused_job_ids)s::uuid[]) then false when {obstacle} is null then true else false end
            order by visible_at limit %(bound)s)
        union all
        (select visible_at, payload from public.learning_submission_jobs
            where status = 'leased' and leased_until <= clock_timestamp()
                and case when id = any(%(refused_job_ids)s::uuid[]) then false when {obstacle} is null then true else false end
            order by visible_at limit %(bound)s)
    ) as waiting
) as front
