"""An adapter for as many processes as the file `room` contains. A later process dies in its import."""

import fcntl
import os
import signal
from pathlib import Path

from worker.adapters.stub import build

__all__ = ["build"]

ROOM = Path("room")

with ROOM.open("r+") as room:
    fcntl.flock(room, fcntl.LOCK_EX)
    places = int(room.read())
    if not places:
        os.kill(os.getpid(), signal.SIGSEGV)
    room.seek(0)
    room.write(str(places - 1))
