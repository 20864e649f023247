"""Turns pictures by the orientation that a camera wrote beside them."""

from PIL import Image

_TAG = 0x0112
_TURNS = {  # because ImageOps.exif_transpose writes the EXIF data back and fails on the data of some cameras
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90}


def orientation(exif: Image.Exif | bytes) -> int:
    """Return the EXIF orientation, or 1 (upright) if the EXIF data is broken, because the picture itself is readable."""
    try:
        if isinstance(exif, bytes):
            parsed = Image.Exif()
            parsed.load(exif)
            exif = parsed
        return int(exif.get(_TAG, 1))
    except Exception:  # noqa: BLE001  EXIF parsers raise exceptions of any class
        return 1


def upright_size(size: tuple[int, int], number: int) -> tuple[int, int]:
    return (size[1], size[0]) if _TURNS.get(number) in _SIDEWAYS else size


def upright(picture: Image.Image, number: int) -> Image.Image:
    turn = _TURNS.get(number)
    return picture if turn is None else picture.transpose(turn)
