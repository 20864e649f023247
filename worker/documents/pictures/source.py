"""Decodes pictures: upright, opaque, of 8 bits, without metadata. The bytes decide on the format."""

from collections.abc import Callable, Sequence
from typing import Protocol

from PIL import Image

from worker.core.file_refusals import FileCutOff, FileDamaged, FileRefused, FileTooLarge
from worker.documents.page import NOTES, Note
from worker.documents.pictures.colours import opaque
from worker.documents.pictures.formats import PictureFormat
from worker.documents.pictures.heif import Avif, Heif
from worker.documents.pictures.jpeg import Jpeg
from worker.documents.pictures.orientation import upright, upright_size
from worker.documents.pictures.plain import Bmp, Gif
from worker.documents.pictures.png import Png
from worker.documents.pictures.tiff import Tiff
from worker.documents.pictures.webp import Webp
from worker.documents.pictures.whole import Decoded

MAX_PIXELS = 250_000_000  # phones take up to 200 million
MEMORY_BYTES = 480 * 2**20  # of the child's 512 MiB, for the picture and the file
_FILE_COPIES = 3  # the file, the parts that are kept, and what the decoder reads
_MIN_TAIL_BYTES = 512  # so many zeros at the end are the part of an upload that never came

Image.preinit()  # before the fork, so that the child has nothing to import
Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS is the limit, and Pillow's is a warning


class _Photo(Protocol):
    """A file of one format. `sizes` are those of the stored pictures. Decoding takes `pixel_bytes` of memory."""

    @property
    def sizes(self) -> Sequence[tuple[int, int]]: ...
    @property
    def pixel_bytes(self) -> float: ...
    @property
    def orientation(self) -> int: ...
    @property
    def profile(self) -> bytes: ...
    @property
    def has_end(self) -> bool: ...

    def decode(self, index: int, size: tuple[int, int], /) -> Decoded: ...


_PHOTOS: dict[PictureFormat, Callable[[bytes], _Photo]] = {
    PictureFormat.JPEG: Jpeg,
    PictureFormat.PNG: Png,
    PictureFormat.WEBP: Webp,
    PictureFormat.AVIF: Avif,
    PictureFormat.HEIF: Heif,
    PictureFormat.TIFF: Tiff,
    PictureFormat.GIF: Gif,
    PictureFormat.BMP: Bmp,
}
_MAY_END_WITH_ZEROS = {PictureFormat.TIFF, PictureFormat.BMP, PictureFormat.WEBP}


class Pictures:
    """The pictures of a file, as a source of pages."""

    def __init__(self, content: bytes, kind: PictureFormat) -> None:
        self._photo = _PHOTOS[kind](content if kind in _MAY_END_WITH_ZEROS else _without_tail(content))
        self.sizes = [upright_size(size, self._photo.orientation) for size in self._photo.sizes]
        pixels = max((width * height for width, height in self.sizes), default=0)
        if pixels > MAX_PIXELS or pixels * self._photo.pixel_bytes + _FILE_COPIES * len(content) > MEMORY_BYTES:
            raise FileTooLarge("too many pixels")

    def picture(self, index: int, size: tuple[int, int]) -> Image.Image:
        """Decode a picture and reduce it to `size`. Its `info` has nothing but notes."""
        turned = upright_size(size, self._photo.orientation)
        decoded = self._decoded(index, turned)
        if not decoded.is_nearly_whole:
            raise self._incomplete()
        picture = upright(opaque(decoded.picture, turned, self._photo.profile), self._photo.orientation)
        picture.info = {} if decoded.share == 1 else {NOTES: (Note.INCOMPLETE,)}
        return picture

    def _decoded(self, index: int, size: tuple[int, int]) -> Decoded:
        try:
            return self._photo.decode(index, size)
        except (FileRefused, MemoryError):
            raise
        except Exception:  # noqa: BLE001  decoders raise exceptions of any class
            raise self._incomplete() from None

    def _incomplete(self) -> FileRefused:
        return FileDamaged("the picture cannot be decoded") if self._photo.has_end else FileCutOff("the end is missing")

    def shape(self, index: int) -> tuple[float, float]:
        return self.sizes[index]

    def text(self, index: int, picture: Image.Image) -> str | None:
        """Return None, because a picture has no text of its own."""
        del index, picture
        return None


def _without_tail(content: bytes) -> bytes:
    """An upload that stopped may have been filled with zeros. Decoders take them for grey or black."""
    stripped = content.rstrip(b"\0")
    return stripped if len(content) - len(stripped) >= _MIN_TAIL_BYTES else content
