-- Puts a dead worker's job back into the queue and counts the death. At the limit the job is quarantined: it fails. Primary key.
-- Then its counts are kept aside, with this death: see quarantined.sql.
-- `count_as` is crashes or expiries, or null if the job did not cause the death. A payload that is not an object has no place for
-- a count, and no worker can use it, so its first death is the last. A practice attempt is ended by functions that only a worker has,
-- so the next worker quarantines its job.
with locked as (
    select id, jsonb_typeof(payload) = 'object' as is_countable,
        case when jsonb_typeof(payload) = 'object' then payload else '{}'::jsonb end as payload,
        case when jsonb_typeof(payload -> %(count_as)s::text) = 'number'
            then least(greatest((payload ->> %(count_as)s::text)::numeric, 0), 1000)::int else 0 end + 1 as deaths
    from public.learning_submission_jobs
    where id = %(job_id)s and lease_key = %(lease_key)s
    for update
), judged as (
    select id, payload as fields, deaths,
        %(count_as)s::text is not null and (deaths >= %(limit)s::int or not is_countable)
            and coalesce(payload ->> 'practice_attempt_id', '') = '' as is_over
    from locked
), reclaimed as (
    update public.learning_submission_jobs as job
    set status = case when judged.is_over then 'failed' else 'queued' end,
        error_code = case when judged.is_over then 'worker_crashed' else job.error_code end,
        payload = case when %(count_as)s::text is null or jsonb_typeof(job.payload) <> 'object' then job.payload
            when judged.is_over then jsonb_set({quarantined}, array['quarantined', %(count_as)s::text], to_jsonb(judged.deaths))
            else jsonb_set(job.payload, array[%(count_as)s::text], to_jsonb(judged.deaths)) end,
        lease_key = null, leased_until = null, updated_at = clock_timestamp()
    from judged
    where job.id = judged.id
    returning job.submission_id, job.status,
        judged.fields ->> 'kind' in ('text', 'dialog') or coalesce(judged.fields ->> 'cached_text_md', '') <> ''
            or lower(judged.fields ->> 'analysis_mode') = 'visual_direct' as is_past_reading
)
select status = 'failed' as is_quarantined,
    case when status = 'failed' then public.learning_worker_update_failed(
        submission_id,
        case when coalesce(is_past_reading, false) then 'feedback_failed' else 'vision_failed' end,
        'worker_crashed')::text end
from reclaimed
