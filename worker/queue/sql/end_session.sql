-- Ends a session of the server. The start is compared, because the server may give a pid again. No table is read.
select pg_terminate_backend(pid) as is_sent from pg_stat_activity
where pid = %(backend_pid)s and backend_start::text = %(session_start)s
