"""Ends its process while it is imported, as a crashing native library would."""

import os

os._exit(1)
