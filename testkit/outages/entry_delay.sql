-- A delay of new jobs: they are entered before a fault and become visible after its begin.

create table public.entry_delay (seconds float8 not null);
insert into public.entry_delay values (0);

create function public.delay_entry() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        begin
            new.visible_at := clock_timestamp() + make_interval(secs => (select seconds from public.entry_delay));
            return new;
        end
    $$;

create trigger delay_entry before insert on public.learning_submission_jobs
    for each row execute function public.delay_entry();
