-- Refusals for tests: the database refuses one kind of write for one submission with any SQLSTATE, as the platform's triggers,
-- constraints and damaged rows do.

create table public.refusals (
    submission_id uuid not null,
    write         text not null, -- lease, renew, queue, fail or delete of the job; complete, fail_submission or retry; read;
                                 -- checkpoint: a renewal that writes a text
    code          text not null, -- a SQLSTATE, `missing`: calls a function that does not exist, `slow`: runs into the timeout
    primary key (submission_id, write)
);

create function public.refuse(p_submission_id uuid, p_write text) returns boolean
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        declare
            refusal constant text := (
                select code from public.refusals where submission_id = p_submission_id and write in (p_write, 'every'));
        begin
            if refusal = 'missing' then
                execute 'select public.no_such_function()';
            elsif refusal = 'slow' then
                perform pg_sleep(60);
            elsif refusal is not null then
                raise exception 'Key (text)=(a pupil''s text)' using errcode = refusal;
            end if;
            return true;
        end
    $$;

create function public.refuse_job() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        begin
            if tg_op = 'UPDATE' and new.payload is distinct from old.payload and new.lease_key = old.lease_key then
                perform public.refuse(old.submission_id, 'checkpoint');
            end if;
            perform public.refuse(old.submission_id, case
                when tg_op = 'DELETE' then 'delete'
                when new.status = 'leased' and new.lease_key is distinct from old.lease_key then 'lease'
                when new.status = 'leased' then 'renew'
                when new.status = 'failed' then 'fail'
                else 'queue' end);
            return case when tg_op = 'DELETE' then old else new end;
        end
    $$;

create function public.refuse_submission() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        begin
            perform public.refuse(old.id, case new.analysis_status
                when 'completed' then 'complete'
                when 'failed' then 'fail_submission'
                else 'retry' end);
            return new;
        end
    $$;

create trigger refuse_job before update or delete on public.learning_submission_jobs
    for each row execute function public.refuse_job();
create trigger refuse_submission before update on public.learning_submissions
    for each row execute function public.refuse_submission();

drop policy learning_worker_reads_one_student on public.learning_submissions;
create policy learning_worker_reads_one_student on public.learning_submissions
    for select to learning_worker
    using (student_sub = nullif(current_setting('app.current_sub', true), '') and public.refuse(id, 'read'));
