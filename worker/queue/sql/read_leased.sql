-- The submission of the job that was leased in this transaction; nothing if none was. Columns as in read_submission.sql.
-- Primary key. Row security shows the row only to its own student, whom the lease set.
-- A typed text goes to the feedback model at once, so one of that model's permits is tried for; as in begin_step.sql.
select id, course_id, task_id, student_sub, kind, text_body, storage_key, mime_type, size_bytes, sha256,
    attempt_nr, analysis_status, internal_metadata,
    case when kind = 'text' and analysis_status not in ('completed', 'failed') then (
        select number
        from generate_series(1, %(permits)s::int) as number
        where pg_try_advisory_lock(%(permit_key)s::int, number)
        limit 1
    ) end as permit
from public.learning_submissions
where id = nullif(current_setting('app.leased_submission', true), '')::uuid
