"""Objects of a PDF, and the file that they make. They are written byte by byte, so that a file may be broken on purpose."""

import zlib
from collections.abc import Sequence

HEADER = b"%PDF-1.7\n"
_FREE = b"0000000000 65535 f \n"


def stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(content), content)


def packed(content: bytes, entries: bytes = b"", times: int = 1) -> bytes:
    """A stream that is compressed `times` times."""
    for _ in range(times):
        content = zlib.compress(content, 9)
    return stream(content, entries + b"/Filter[%s]" % (b"/FlateDecode" * times))


def assembled(objects: Sequence[bytes | None], trailer: bytes = b"") -> bytes:
    """Number the objects from 1 and add their table. None is an object that is missing."""
    content, rows = HEADER, [_FREE]
    for number, body in enumerate(objects, start=1):
        rows.append(_FREE if body is None else b"%010d 00000 n \n" % len(content))
        content += b"" if body is None else b"%d 0 obj%s\nendobj\n" % (number, body)
    end = b"trailer<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF" % (len(rows), trailer, len(content))
    return content + b"xref\n0 %d\n%s" % (len(rows), b"".join(rows)) + end
