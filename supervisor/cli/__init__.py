"""The command line.

main.py             start, status, check, doctor
commands.py         scale, recycle, reload: sent to a running instance
control_socket.py   the HTTP client of an instance's control socket
env_file.py         the option --env-file, and the exit on wrong settings
status.py           the output of `status`
check.py            the findings of `check`
"""
