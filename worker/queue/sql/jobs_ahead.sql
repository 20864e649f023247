-- Lists queued jobs that were written while the clock of the database was ahead: they wait until it is there again.
-- Index (status, visible_at): only the delayed jobs are read.
select id, extract(epoch from visible_at - now())::float8 as due_in_seconds
from public.learning_submission_jobs
where status = 'queued' and visible_at > now() + interval '1 minute' and visible_at < now() + interval '1 year'
    and greatest(created_at, updated_at) > now() + interval '1 minute'
order by visible_at
limit %(bound)s
