-- Reads the submission of the job that was leased in this transaction, with the columns of read_submission.sql. No row if none
-- was leased. Primary key. Row security shows the row only to its own student, which the lease has set as the subject.
-- Typed text and a dialog go straight to the feedback model, so one of its permits is tried, as in begin_step.sql.
select id, course_id, task_id, student_sub, kind, text_body, storage_key, mime_type, size_bytes, sha256,
    attempt_nr, analysis_status, internal_metadata,
    case when kind in ('text', 'dialog') and analysis_status not in ('completed', 'failed') then (
        select number
        from generate_series(1, %(permits)s::int) as number
        where pg_try_advisory_lock(%(permit_key)s::int, number)
        limit 1
    ) end as permit
from public.learning_submissions
where id = nullif(current_setting('app.leased_submission', true), '')::uuid
