"""Signals on which no process of an instance acts, with the reason for each group."""

import signal

# Their default action ends the process, and none of them is a request to this program.
HARMLESS_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO)

# A terminal sends SIGTSTP (Ctrl-Z) to its foreground group only. It would stop the supervisor, and the workers would go on.
STOP_SIGNALS = (signal.SIGTSTP,)

# Workers and the monitor are background processes of the terminal, so reading it or writing to it may send these to them.
TERMINAL_SIGNALS = (signal.SIGTTIN, signal.SIGTTOU)
