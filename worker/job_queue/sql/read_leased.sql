-- The submission of the job that was leased in this transaction; nothing if none was. Columns as in read_submission.sql.
-- Primary key. Row security shows the row only to its own student, whom the lease set.
select id, course_id, task_id, student_sub, kind, text_body, storage_key, mime_type, size_bytes, sha256,
    attempt_nr, analysis_status, internal_metadata
from public.learning_submissions
where id = nullif(current_setting('app.leased_submission', true), '')::uuid
