"""`python -m bench.bare_worker`: a worker without supervisor and monitor, for comparison."""

import os
import sys

from supervisor.settings.model import read_settings
from worker import main
from worker.ipc.contract import Wiring
from worker.ipc.scoreboard import ControlRecord, Scoreboard

if __name__ == "__main__":
    settings = read_settings({})
    scoreboard = Scoreboard()
    scoreboard.control.write(ControlRecord(leasing_slots=1))
    lifeline_fd, lifeline_end_fd = os.pipe()
    wiring = Wiring(
        slot=0,
        instance=1,
        incarnation=1,
        scoreboard=scoreboard,
        wake_fd=os.eventfd(0, os.EFD_NONBLOCK),
        event_fd=os.open(os.devnull, os.O_WRONLY),
        lifeline_fd=lifeline_fd,
    )
    sys.exit(main.run(wiring, settings.worker))
