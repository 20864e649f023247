"""Imports before the first fork."""

import subprocess
import sys

PROGRAM = """
import os, sys
from worker import main
from worker.settings import ADAPTERS

main.preload()
missing = {*ADAPTERS["local"], "PIL.Image", "pypdfium2"} - sys.modules.keys()
links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
print(sorted(missing), len(os.listdir("/proc/self/task")), [link for link in links if link.startswith("socket:")])
"""


def test_our_adapters_are_loaded_before_the_first_fork() -> None:
    """All their imports are shared by the workers. They start no thread and open no socket (invariant 9)."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[] 1 []"
