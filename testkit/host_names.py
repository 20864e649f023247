"""Host names whose lookup a test can let hang or fail.

For the processes of a fleet, a library that is loaded before the C library answers getaddrinfo. For code in the test's own
process, another getent answers.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("name_shim.c")
MODEL_SERVER, OBJECT_STORE, DATABASE = "model-server", "object-store", "database-host"
_GETENT = """#!/bin/sh
[ "$2" = hangs ] && exec sleep 600
exec cat "{directory}/$2.answer" 2>/dev/null
"""


class NoCompiler(Exception):
    """This system cannot build the library."""


@dataclass(frozen=True, slots=True)
class HostNames:
    """Three names of this host, for processes with the variables of `environ`. Each object has names of its own."""

    directory: Path

    @classmethod
    def build(cls, directory: Path) -> "HostNames":
        """Build the library in `directory`. Raises NoCompiler."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise NoCompiler("a C compiler is needed: apt-get install gcc libc6-dev")
        directory.mkdir(exist_ok=True)
        names = cls(directory)
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", names.library, _SOURCE, "-ldl"], check=True)
        for name in (MODEL_SERVER, OBJECT_STORE, DATABASE):
            (directory / f"{name}.known").touch()
        return names

    @property
    def library(self) -> Path:
        return self.directory / "names.so"

    @property
    def environ(self) -> dict[str, str | float | Path]:
        """Settings by field name, for `as_variables`."""
        return {"ld_preload": self.library, "names_directory": self.directory}

    def hang(self, *names: str) -> None:
        """Let each lookup of these names hang from now on, and forget those that did."""
        for name in names:
            (self.directory / f"{name}.asked").unlink(missing_ok=True)
            (self.directory / f"{name}.hangs").touch()

    def forget(self, *names: str) -> None:
        """Let these names have no address from now on."""
        for name in names:
            (self.directory / f"{name}.asked").unlink(missing_ok=True)
            (self.directory / f"{name}.unknown").touch()

    @property
    def is_hanging(self) -> bool:
        return any((*self.directory.glob("*.hangs"), *self.directory.glob("*.unknown")))

    def heal(self) -> None:
        """Let every name have its address again."""
        for mark in (*self.directory.glob("*.hangs"), *self.directory.glob("*.unknown")):
            mark.unlink()

    def has_hung(self, name: str) -> bool:
        return (self.directory / f"{name}.asked").exists()


def write_getent(directory: Path, **addresses: tuple[str, ...]) -> None:
    """Write a getent that knows these names, and one more name, `hangs`, whose lookup hangs."""
    program = directory / "getent"
    program.write_text(_GETENT.format(directory=directory))
    program.chmod(0o755)
    for name, found in addresses.items():
        lines = (f"{address} {kind}\n" for address in found for kind in ("STREAM", "DGRAM", "RAW"))
        (directory / f"{name}.answer").write_text("".join(lines))
