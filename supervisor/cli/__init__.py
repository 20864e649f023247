"""The command line.

main.py             start, status, check, doctor
commands.py         scale, recycle, reload: sent to a running instance
boot_signals.py     signals before the libraries are imported
output.py           streams that raise no error
control_socket.py   the HTTP client of an instance's control socket
env_file.py         the option --env-file, and the exit on wrong settings
status.py           the output of `status`
check.py            the findings of `check`
"""
