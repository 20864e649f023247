-- Notifies listeners. Notifications are sent at commit, so the job of the same transaction is visible by then.

create or replace function public.learning_submissions_notify() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        begin
            perform pg_notify('learning_submissions', new.id::text);
            return null;
        end
    $$;

create or replace trigger learning_submissions_notify
    after insert or update of analysis_status, completed_at on public.learning_submissions
    for each row execute function public.learning_submissions_notify();
