-- Facts about the live schema from its catalogs. Only names that exist are passed to the functions that raise for other names.
-- Nothing is locked and no table of the platform is read. `null` of an array means that there is none.
-- - A function that is missing has a null privilege, one without the right has false.
-- - Roles that fit have a function that this one lacks. The platform's name for its worker comes first.
-- - Codes and kinds are in the checks on one column alone, whatever the constraint's name is. Their parsed form is read, because
--   pg_get_constraintdef would wait for the lock of a migration.
with ability (name, signature) as (
    values ('usage', 'public.learning_worker_record_ai_usage('
                'uuid,uuid,text,text,text,text,boolean,integer,integer,integer,text)'),
        ('practice', 'public.learning_worker_get_practice_attempt_context(uuid)'),
        ('practice', 'public.learning_worker_complete_practice_attempt('
                'uuid,double precision,text,boolean,double precision,bigint,timestamptz,timestamptz,text)'),
        ('practice', 'public.learning_worker_fail_practice_attempt(uuid,text)'),
        ('queue', 'public.learning_worker_update_completed(uuid,text,text,jsonb)'),
        ('queue', 'public.learning_worker_update_failed(uuid,text,text)'),
        ('queue', 'public.learning_worker_mark_retry(uuid,text,text,timestamptz)')
), function as (
    select name, to_regprocedure(signature) as found, has_function_privilege(to_regprocedure(signature), 'execute') as is_granted
      from ability
), needed (name, is_found, is_granted) as (
    select name, found is not null, is_granted from function
    union all
    select 'queue', relation is not null, has_table_privilege(relation, privilege)
      from (values (to_regclass('public.learning_submission_jobs'), 'select'),
                   (to_regclass('public.learning_submission_jobs'), 'update'),
                   (to_regclass('public.learning_submission_jobs'), 'delete'),
                   (to_regclass('public.learning_submissions'), 'select')) as own (relation, privilege)
), submission_column as (
    select attnum, attname from pg_attribute
     where attrelid = to_regclass('public.learning_submissions') and attnum > 0 and not attisdropped
), submission_check as (
    select attname, conbin::text as definition
      from pg_constraint join submission_column on conkey = array[attnum]
     where conrelid = to_regclass('public.learning_submissions') and contype = 'c'
), task_column as (
    select attname::text as name, has_column_privilege(attrelid, attnum, 'select') as is_granted
      from pg_attribute
     where attrelid = to_regclass('public.unit_tasks') and attnum > 0 and not attisdropped
       and attname in ('id', 'instruction_md', 'teacher_context_md', 'hints_md', 'model_solution_md')
)
select session_user::text as session_user,
    (select array_agg(distinct name) from needed where is_found) as installed,
    (select array_agg(distinct name) from needed where not is_granted) as withheld,
    (select array_agg(name) from (
        select name from needed group by name having bool_and(coalesce(is_granted, false))) granted) as granted,
    (select array_agg(name) from task_column where is_granted) as task_columns,
    (select array_agg(attname::text) from submission_column) as submission_columns,
    (select array_agg(definition) from submission_check where attname = 'kind') as kind_checks,
    (select array_agg(definition) from submission_check where attname = 'error_code') as error_code_checks,
    (select prosrc from pg_proc where oid = to_regprocedure('public.learning_worker_update_failed(uuid,text,text)')) as failing,
    (select pg_has_role(session_user, oid, 'usage') from pg_roles where rolname = 'gustav_worker') as is_gustav_worker,
    (select array_agg(rolname::text order by rolname <> 'gustav_worker', rolname) from pg_roles
      where not rolsuper and oid in (
        select grantee from pg_proc, aclexplode(proacl)
         where grantee <> proowner and pg_proc.oid in (select found from function where not is_granted))
    ) as fitting_roles
