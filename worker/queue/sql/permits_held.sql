-- Whether anybody, of any instance, is in a call to this model: permits are advisory locks under the model's key (two numbers, so
-- objsubid 2). Everybody may read pg_locks.
select exists (
    select from pg_locks
    where locktype = 'advisory' and objsubid = 2 and granted and classid = (%(permit_key)s::bigint & 4294967295)::oid
        and database = (select oid from pg_database where datname = current_database())
) as is_asked
