"""Exit codes of the commands."""

OK = 0
ATTENTION_NEEDED = 1  # status, check, doctor: something is wrong
COMMAND_REJECTED = 1  # scale, recycle, reload: nothing was changed
USAGE = 2  # the command line is wrong (the number is click's)
NOT_RUNNING = 3  # no instance answered (the number is that of `systemctl status`)
EX_CONFIG = 78  # the settings are wrong, and a restart cannot help
