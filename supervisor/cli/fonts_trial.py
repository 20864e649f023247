"""A trial of `check`: fonts of this host, for letters that a PDF's own fonts lack."""

from collections.abc import Iterator
from pathlib import Path

from supervisor.findings import Finding, Level

DIRECTORIES = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
FILES = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "FreeSans.ttf", "LiberationSans-Regular.ttf")
_REMEDY = (
    "none of this host has Greek, Cyrillic and signs of mathematics, so PDFs that need them are refused. "
    "Install the package fonts-dejavu-core, and for Chinese fonts-wqy-microhei, then restart the service"
)


def fonts(directories: tuple[Path, ...] = DIRECTORIES) -> Iterator[Finding]:
    """Runs in the child with the service's rights. The decoder of a PDF searches the same directories."""
    if any(next(directory.rglob(name), None) for directory in directories for name in FILES):
        yield Finding(Level.OK, "fonts for PDFs")
    else:
        yield Finding(Level.WARNING, "fonts for PDFs", _REMEDY)
