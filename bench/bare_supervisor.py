"""`python -m bench.bare_supervisor FD`: a loop that waits for its child and forks the next one, for comparison.

It has the same imports as the supervisor and prepares its memory in the same way.
"""

import os
import sys

import supervisor.cli.main
from bench.stamp import write_stamp
from supervisor.adapters import processes
from worker import main as worker_main

assert supervisor.cli.main  # imported for its memory

if __name__ == "__main__":
    fd = int(sys.argv[1])
    worker_main.preload()
    processes.freeze_memory()
    while True:
        if os.fork() == 0:
            write_stamp(fd, 0)
            os.read(sys.stdin.fileno(), 1)  # ends when the benchmark does
            os._exit(0)
        if os.waitstatus_to_exitcode(os.wait()[1]) == 0:
            break
