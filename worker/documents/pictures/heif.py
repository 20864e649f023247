"""Reads HEIC, the iPhone's own format, and AVIF. Their decoders decode a whole picture or nothing, once the data is there.

Turns are a property of the picture in both, and libheif applies them. The EXIF orientation beside it repeats them and is not
read, so that no picture is turned twice.
"""

from io import BytesIO
from typing import Any

import pillow_heif
from PIL import AvifImagePlugin, Image

from worker.core.file_refusals import FileDamaged
from worker.documents.pictures.boxes import require_picture_data, without_exif
from worker.documents.pictures.orientation import orientation
from worker.documents.pictures.whole import Decoded

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the child may start no thread
pillow_heif.options.DECODE_THREADS = 1
pillow_heif.options.THUMBNAILS = pillow_heif.options.DEPTH_IMAGES = pillow_heif.options.AUX_IMAGES = False


class Heif:
    pixel_bytes = 9
    orientation = 1
    has_end = True  # what is cut off was refused

    def __init__(self, content: bytes) -> None:
        require_picture_data(content)
        file: Any = pillow_heif.open_heif(without_exif(content), convert_hdr_to_8bit=True)
        self._picture = file[file.primary_index]
        self.sizes: list[tuple[int, int]] = [self._picture.size]
        self.profile = bytes(self._picture.info.get("icc_profile") or b"")

    def decode(self, _index: int, _size: tuple[int, int]) -> Decoded:
        picture: Image.Image = self._picture.to_pillow()
        return Decoded(picture)


class Avif:
    pixel_bytes = 9
    has_end = True

    def __init__(self, content: bytes) -> None:
        require_picture_data(content)
        self._picture = AvifImagePlugin.AvifImageFile(BytesIO(without_exif(content)))
        if not all(self._picture.size):
            raise FileDamaged("a picture without a size")
        self.sizes = [self._picture.size]
        self.orientation = orientation(self._picture.info.get("exif", b""))  # Pillow writes the picture's own turns there
        self.profile = bytes(self._picture.info.get("icc_profile") or b"")

    def decode(self, _index: int, _size: tuple[int, int]) -> Decoded:
        self._picture.load()
        return Decoded(self._picture)
