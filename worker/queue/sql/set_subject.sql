-- Sets the student whose submissions are visible. It ends with the transaction. No table is read.
select set_config('app.current_sub', %(student_sub)s, true)
