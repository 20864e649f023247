-- Database side of the other duties of the platform's worker of 2026, each reduced to one row that waits until it is done.

create table public.other_duties (
    id        uuid primary key default gen_random_uuid(),
    duty      text not null,
    course_id uuid,
    done_pid  integer,

    constraint known_duty check (duty in ('export', 'course deletion', 'expired export', 'purge', 'invitation mail'))
);

create function public.other_duty(p_duty text) returns uuid
    language sql security definer set search_path = pg_catalog, pg_temp
    as $$ select id from public.other_duties where duty = p_duty and done_pid is null limit 1 for update skip locked $$;

create function public.other_duty_is_done(p_id uuid) returns void
    language sql security definer set search_path = pg_catalog, pg_temp
    as $$ update public.other_duties set done_pid = pg_backend_pid() where id = p_id $$;

create function public.learning_worker_claim_export() returns uuid
    language sql as $$ select public.other_duty('export') $$;
create function public.learning_worker_complete_export(p_id uuid, p_key text, p_size bigint) returns void
    language sql as $$ select public.other_duty_is_done(p_id) $$;

create function public.learning_worker_claim_expired_export() returns uuid
    language sql as $$ select public.other_duty('expired export') $$;
create function public.learning_worker_complete_expired_export(p_id uuid, p_claim uuid) returns void
    language sql as $$ select public.other_duty_is_done(p_id) $$;

-- The submissions of a deleted course take their jobs along, whatever a worker does with them meanwhile.
create function public.learning_worker_claim_course_deletion() returns uuid
    language sql as $$ select public.other_duty('course deletion') $$;
create function public.learning_worker_complete_storage_deletion(p_id uuid, p_claim uuid) returns void
    language sql security definer set search_path = pg_catalog, pg_temp
    as $$
        delete from public.learning_submissions
         where course_id = (select course_id from public.other_duties where id = p_id);
        select public.other_duty_is_done(p_id)
    $$;

create function public.purge_course_invite_mail_recipients() returns void
    language sql as $$ select public.other_duty_is_done(public.other_duty('purge')) $$;
create function public.claim_course_invite_mail_delivery() returns uuid
    language sql as $$ select public.other_duty('invitation mail') $$;
create function public.complete_course_invite_mail_delivery(p_id uuid) returns void
    language sql as $$ select public.other_duty_is_done(p_id) $$;
