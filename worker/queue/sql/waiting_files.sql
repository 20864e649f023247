-- Lists the next jobs whose submission has a file, with the student under whose subject the submission can be read.
-- Index (status, visible_at).
select submission_id, payload ->> 'student_sub' as student_sub
from public.learning_submission_jobs
where status = 'queued' and payload ->> 'kind' in ('image', 'file') and payload ->> 'student_sub' is not null
order by visible_at
limit 2
