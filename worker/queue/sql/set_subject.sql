-- No table. The subject ends with the transaction.
select set_config('app.current_sub', %(student_sub)s, true)
