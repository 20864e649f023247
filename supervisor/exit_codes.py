"""Exit codes of `learning-supervisor`: of `start`, and of the commands that query or change a running instance.

Numbers from 64 on follow sysexits.h. Workers and the monitor end with an `ExitCode` of worker.ipc.contract, which the
supervisor reads as the status of a child.
"""

from worker.ipc.contract import ExitCode

OK = 0
ATTENTION_NEEDED = 1  # status, check, doctor: something is wrong
COMMAND_REJECTED = 1  # scale, recycle, reload: nothing was changed, or there was no answer
USAGE = 2  # the command line is wrong (the number is click's)
NOT_RUNNING = 3  # no instance runs (the number is that of `systemctl status`)
GAVE_UP = 69  # EX_UNAVAILABLE: workers only crashed
CANNOT_CREATE = 73  # EX_CANTCREAT: the runtime directory is full or read-only, and a later start can help
OUTPUT_LOST = 74  # EX_IOERR: the command was carried out, and its output could not be written
NO_PERMISSION = 77  # EX_NOPERM: the runtime directory is another user's
CUT_SHORT = 75  # EX_TEMPFAIL: a stop killed a worker, or left a lease that the next start reclaims
OUTCOME_UNKNOWN = 75  # EX_TEMPFAIL, of scale, recycle, reload: no answer came, and the command may have been carried out
EX_CONFIG = int(ExitCode.CONFIG)  # 78: the settings are wrong, and a restart cannot help
