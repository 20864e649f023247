-- Records every committed change of a job, with the number of committed pages, which audit.sql does not record.

create table public.job_transitions (
    number           bigint primary key generated always as identity,
    at               timestamptz not null default clock_timestamp(),
    job_id           uuid not null,
    submission_id    uuid not null,
    old_status       text,
    status           text,
    old_lease_key    uuid,
    lease_key        uuid,
    pages            integer not null,
    has_text         boolean not null,
    crashes          integer not null,
    expiries         integer not null,
    retry_count      integer not null,
    error_code       text,
    application_name text not null default current_setting('application_name')
);

create index on public.job_transitions (job_id);

create function public.record_job_transition() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        declare
            job constant public.learning_submission_jobs := case when tg_op = 'DELETE' then old else new end;
        begin
            insert into public.job_transitions (job_id, submission_id, old_status, status, old_lease_key, lease_key,
                pages, has_text, crashes, expiries, retry_count, error_code)
            values (job.id, job.submission_id,
                case when tg_op <> 'INSERT' then old.status end,
                case when tg_op <> 'DELETE' then new.status end,
                case when tg_op <> 'INSERT' then old.lease_key end,
                case when tg_op <> 'DELETE' then new.lease_key end,
                coalesce(jsonb_array_length(job.payload -> 'cached_pages'), 0),
                coalesce(job.payload ->> 'cached_text_md', '') <> '',
                coalesce((job.payload ->> 'crashes')::int, (job.payload #>> '{quarantined,crashes}')::int, 0),
                coalesce((job.payload ->> 'expiries')::int, (job.payload #>> '{quarantined,expiries}')::int, 0),
                job.retry_count, job.error_code);
            return null;
        end
    $$;

create trigger record_job_transition
    after insert or update or delete on public.learning_submission_jobs
    for each row execute function public.record_job_transition();
