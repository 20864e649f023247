-- Lists those of the jobs that are neither finished nor failed. Primary key, once for each job. Reads no payload.
select job.id
from unnest(%(job_ids)s::uuid[]) as known(id)
cross join lateral (
    select id from public.learning_submission_jobs where id = known.id and status in ('queued', 'leased') limit 1
) as job
