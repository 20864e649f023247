-- Counts the jobs among the first of the queue that this instance cannot do, by kind and by the obstacle. The kind is one of a fixed
-- list, because it becomes a label. `refused_job_ids` do not count, and their payloads are not read, because they may be damaged.
-- A job whose lease has expired waits too: an instance that can do it takes it at once, and counts the expiry.
-- Index (status, visible_at), two bounded walks.
select kind, obstacle, count(*)::int as jobs
from (
    select
        case when {obstacle} is null then null else case
            when payload ->> 'task_kind' in ('scratch', 'calliope', 'filius') then payload ->> 'task_kind'
            when coalesce(payload #>> '{needs,kind}', payload ->> 'kind') in ('text', 'image', 'file', 'dialog')
                then coalesce(payload #>> '{needs,kind}', payload ->> 'kind')
            else 'other' end
        end as kind,
        {obstacle} as obstacle
    from (
        (select payload from public.learning_submission_jobs
            where status = 'queued' and id <> all(%(refused_job_ids)s::uuid[])
            order by visible_at limit %(bound)s)
        union all
        (select payload from public.learning_submission_jobs
            where status = 'leased' and leased_until <= now() and id <> all(%(refused_job_ids)s::uuid[])
            order by visible_at limit %(bound)s)
    ) as front
) as judged
where obstacle is not null
group by kind, obstacle
