"""Never comes back from its import, as a mount that is gone would."""

import time

time.sleep(3600)
