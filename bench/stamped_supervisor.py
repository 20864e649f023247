"""`python -m bench.stamped_supervisor FD WORKER start …`: learning-supervisor, each of whose workers first stamps into FD.

WORKER `works` then does what it always does, `exits` ends at once, as one with a bad set-up does.
"""

import sys

from bench.stamp import write_stamp
from supervisor.cli.main import main
from worker import main as worker_main
from worker.ipc.contract import Wiring
from worker.settings import WorkerSettings

EXIT_CODE = 1

if __name__ == "__main__":
    fd, what = int(sys.argv.pop(1)), sys.argv.pop(1)
    work = worker_main.run

    def stamped(wiring: Wiring, settings: WorkerSettings) -> int:
        write_stamp(fd, wiring.slot)
        return work(wiring, settings) if what == "works" else EXIT_CODE

    worker_main.run = stamped
    main()
