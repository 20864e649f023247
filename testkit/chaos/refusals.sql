-- Lets the database refuse writes to single submissions, as a constraint, a trigger, a limit or a damaged row would.
-- `place` is lease (the job may not be leased), result (the submission may fail but not be completed) or everything.

create table public.chaos_refusals (
    submission_id uuid not null,
    place         text not null check (place in ('lease', 'result', 'everything')),
    code          text not null  -- an SQLSTATE
);

create function public.chaos_refuse() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        declare
            refused constant uuid := case when tg_table_name = 'learning_submissions'
                then (to_jsonb(old) ->> 'id')::uuid else (to_jsonb(old) ->> 'submission_id')::uuid end;
            event constant text := case
                when tg_table_name = 'learning_submissions' and to_jsonb(new) ->> 'analysis_status' = 'completed' then 'result'
                when tg_table_name = 'learning_submissions' then 'other'
                when tg_op = 'UPDATE' and to_jsonb(new) ->> 'lease_key' is distinct from to_jsonb(old) ->> 'lease_key'
                    and to_jsonb(new) ->> 'status' = 'leased' then 'lease'
                else 'other' end;
            found text;
        begin
            select code into found from public.chaos_refusals
            where submission_id = refused and (place = event or place = 'everything');
            if found is not null then
                raise exception 'refused' using errcode = found;
            end if;
            return case when tg_op = 'DELETE' then old else new end;
        end
    $$;

create trigger chaos_refuse before update or delete on public.learning_submission_jobs
    for each row execute function public.chaos_refuse();

create trigger chaos_refuse before update on public.learning_submissions
    for each row
    when (old.analysis_status is distinct from new.analysis_status)
    execute function public.chaos_refuse();
