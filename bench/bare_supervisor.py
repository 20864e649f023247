"""`python -m bench.bare_supervisor FD`: waits for its child's death and forks the next one, and nothing else, for comparison.

It holds the same memory as the real one: the same imports, prepared for forks in the same way.
"""

import os
import sys

import supervisor.cli.main
from bench.stamp import write_stamp
from supervisor.adapters import processes
from worker import main as worker_main

assert supervisor.cli.main  # imported for its weight

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
