"""Exit codes of the commands."""

OK = 0
DEGRADED = 1  # `status`, `check`, `doctor`: something is wrong
COMMAND_REJECTED = 1
USAGE = 2  # as click's own
NOT_RUNNING = 3  # as systemctl's
EX_CONFIG = 78  # sysexits.h: a setting is wrong
