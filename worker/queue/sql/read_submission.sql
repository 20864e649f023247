-- Reads a submission. Primary key. Row security shows the row only to its own student, set earlier in this transaction.
select id, course_id, task_id, student_sub, kind, text_body, storage_key, mime_type, size_bytes, sha256,
    attempt_nr, analysis_status, internal_metadata
from public.learning_submissions
where id = %(submission_id)s
