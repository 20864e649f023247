-- Commits the text of one page and its grade before the next one is read, and renews the lease. Primary key.
-- The page gives the job's attempts back and ends the suspicion against it.
-- Page 1 starts a new list. Each page is set at its index and not appended, so a repeated statement changes nothing.
update public.learning_submission_jobs
set payload = jsonb_set(
        case when %(page)s::int > 1 then payload - 'suspect'
            else (payload - 'suspect') || jsonb_build_object('cached_pages_from', %(fingerprint)s::text, 'cached_pages', '[]'::jsonb) end,
        array['cached_pages', (%(page)s::int - 1)::text], to_jsonb(%(text_md)s::text))
        || jsonb_build_object('cached_page_grades',
            case when %(page)s::int > 1 and jsonb_typeof(payload -> 'cached_page_grades') = 'object'
                then payload -> 'cached_page_grades' else '{}'::jsonb end
            || jsonb_strip_nulls(jsonb_build_object(%(page)s::text, %(grade)s::jsonb))),
    retry_count = 0,
    leased_until = clock_timestamp() + make_interval(secs => %(lease_seconds)s),
    updated_at = clock_timestamp()
where id = %(job_id)s and lease_key = %(lease_key)s
returning id
