-- Reports whether a worker of any instance is calling this model. Permits are advisory locks under the model's key, with two
-- numbers each, so objsubid is 2. `lost` permits are held for no job. Every role may read pg_locks. No table is read.
select exists (
    select from pg_locks
    where locktype = 'advisory' and objsubid = 2 and granted and classid = (%(permit_key)s::bigint & 4294967295)::oid
        and objid::int <> all(%(lost)s::int[])
        and database = (select oid from pg_database where datname = current_database())
) as is_in_use
