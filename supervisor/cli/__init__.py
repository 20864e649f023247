"""The command line.

main.py             start, status, check, doctor
commands.py         scale, recycle, reload: sent to a running instance
boot_signals.py     signals before the libraries are imported
output.py           streams that raise no error
terminal.py         the option --env-file, exits for wrong settings and missing rights, text in the terminal's width
instances.py        the running instances of the runtime directory
control_socket.py   the HTTP client of an instance's control socket
status.py           the output of `status`
check.py            the findings of `check`
child.py            trials of `check` in a child process with the rights of the service
files_trial.py      the place of the submitted files, tried there
fonts_trial.py      fonts of the host for PDFs, tried there
left_trial.py       the jobs that stay queued, tried there
port_trial.py       STATUS_ADDR, tried there
"""
