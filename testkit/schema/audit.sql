-- Audit for tests: records every result, lease and end of a job, with the session that wrote it. The triggers have their
-- owner's rights, because workers have no access to the audit tables.

create table if not exists public.audit_results (
    number           bigint primary key generated always as identity,
    submission_id    uuid not null,
    old_status       text not null,
    new_status       text not null,
    application_name text not null default current_setting('application_name'),
    backend_pid      integer not null default pg_backend_pid(),
    at               timestamptz not null default clock_timestamp()
);

create table if not exists public.audit_leases (
    number           bigint primary key generated always as identity,
    job_id           uuid not null,
    submission_id    uuid not null,
    lease_key        uuid not null,
    application_name text not null default current_setting('application_name'),
    backend_pid      integer not null default pg_backend_pid(),
    at               timestamptz not null default clock_timestamp()
);

create table if not exists public.audit_finishes (
    number           bigint primary key generated always as identity,
    job_id           uuid not null,
    submission_id    uuid not null,
    lease_key        uuid,
    application_name text not null default current_setting('application_name'),
    backend_pid      integer not null default pg_backend_pid(),
    at               timestamptz not null default clock_timestamp()
);

-- The job as it was, because a result is judged by the job's criteria and mode, and its row is gone.
alter table public.audit_finishes add column if not exists payload jsonb;

create or replace function public.audit_result() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        begin
            insert into public.audit_results (submission_id, old_status, new_status)
            values (new.id, old.analysis_status, new.analysis_status);
            return null;
        end
    $$;

create or replace function public.audit_lease() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        begin
            insert into public.audit_leases (job_id, submission_id, lease_key)
            values (new.id, new.submission_id, new.lease_key);
            return null;
        end
    $$;

create or replace function public.audit_finish() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        begin
            insert into public.audit_finishes (job_id, submission_id, lease_key, payload)
            values (old.id, old.submission_id, old.lease_key, old.payload);
            return null;
        end
    $$;

revoke all on function public.audit_result(), public.audit_lease(), public.audit_finish() from public;

-- `update of` fires for each write of the column, also with an equal value, so that a second write is recorded.
create or replace trigger audit_result
    after update of analysis_status on public.learning_submissions
    for each row when (new.analysis_status in ('completed', 'failed')) execute function public.audit_result();

create or replace trigger audit_lease
    after update on public.learning_submission_jobs
    for each row when (new.lease_key is not null and new.lease_key is distinct from old.lease_key)
    execute function public.audit_lease();

create or replace trigger audit_finish
    after delete on public.learning_submission_jobs
    for each row execute function public.audit_finish();

-- This replaces the guard, which would ignore a second write.
create or replace function public.learning_submission_accepts_result(p_status text) returns boolean
    language sql immutable
    as $$ select true $$;
