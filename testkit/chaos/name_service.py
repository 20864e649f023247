"""Name lookups of a fleet, which get no answer while a file exists. A library that is preloaded into every process."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("name_service.c")
MODEL_SERVER, DATABASE = "modelserver", "database"  # the names that the library knows


class NoCompiler(Exception):
    """The library cannot be built. The message is the compiler's, or that of the system."""


@dataclass(frozen=True, slots=True)
class NameService:
    """`library` is the path of the preloaded library, `flag` the file with the name that gets no answer."""

    library: Path
    flag: Path

    @property
    def hangs(self) -> bool:
        return self.flag.exists()

    def hang(self, name: str) -> None:
        """Let the lookups of one of the two names wait. The file appears with its content."""
        unnamed = self.flag.with_suffix(".new")
        unnamed.write_text(name)
        unnamed.rename(self.flag)

    def answer(self) -> None:
        self.flag.unlink()

    def environ(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "CHAOS_NAMES_HANG": str(self.flag)}


def build_library(directory: Path) -> Path:
    """Compile the library with the system's `cc`. Raises NoCompiler."""
    library = directory / "name_service.so"
    try:
        done = subprocess.run(
            ["cc", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=False, capture_output=True, text=True
        )
    except OSError as error:
        raise NoCompiler(f"cc: {error.strerror}") from error
    if done.returncode:
        raise NoCompiler(done.stderr.strip())
    return library
