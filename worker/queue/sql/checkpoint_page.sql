-- Commits the text of one page of several before the next is asked for, and renews the lease. Primary key.
-- The first page begins the list anew. A page is set at its place and not appended: repeating it changes nothing.
update public.learning_submission_jobs
set payload = jsonb_set(
        case when %(page)s::int > 1 then payload
            else payload || jsonb_build_object('cached_pages_from', %(origin)s::text, 'cached_pages', '[]'::jsonb) end,
        array['cached_pages', (%(page)s::int - 1)::text], to_jsonb(%(text_md)s::text)),
    leased_until = clock_timestamp() + make_interval(secs => %(lease_seconds)s),
    updated_at = clock_timestamp()
where id = %(job_id)s and lease_key = %(lease_key)s
returning id
