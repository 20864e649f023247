"""Converts pictures of any mode and colour profile to opaque ones of 8 bits, and reduces them piece by piece."""

import contextlib
from io import BytesIO

from PIL import Image, ImageCms

from worker.documents.pictures.paper import on_paper

_BAND_PIXELS = 2**20  # at most so many pixels exist twice
_PLAIN = {"L", "RGB", "RGBA", "CMYK"}
_PROFILE_MODES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}
_SRGB = ImageCms.createProfile("sRGB")


def opaque(picture: Image.Image, size: tuple[int, int], profile: bytes | None) -> Image.Image:
    """Return `picture` as RGB or L of `size`, with the colours of its profile, and without any metadata."""
    small = _reduced(_scaled(picture) if picture.mode in {"I", "F"} else picture, size)
    if small.size != size:
        small = small.resize(size, Image.Resampling.BICUBIC)
    flat = _coloured(small, profile)
    flat.info = {}
    return flat


def _reduced(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Convert to a plain mode and reduce by a whole number, to not less than twice `size`."""
    factor = max(1, min(picture.width // (2 * size[0]), picture.height // (2 * size[1])))
    whole = picture.width, picture.height
    if factor == 1:
        return _plain(picture)
    rows = max(1, _BAND_PIXELS // picture.width // factor) * factor
    target: Image.Image | None = None
    for top in range(0, whole[1], rows):
        band = _plain(picture.crop((0, top, whole[0], min(top + rows, whole[1])))).reduce(factor)
        target = target or Image.new(band.mode, (band.width, -(-whole[1] // factor)))
        target.paste(band, (0, top // factor))
    return target or picture


def _plain(picture: Image.Image) -> Image.Image:
    """Return a mode of 8 bits that can be reduced."""
    if picture.mode.startswith("I;16"):  # Pillow's own conversion clips instead of scaling, and leaves white
        return picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    if picture.mode == "LAB":
        return _of_lab(picture)
    if picture.mode == "1":
        return picture.convert("L")
    return picture if picture.mode in _PLAIN else picture.convert("RGB")


def _scaled(picture: Image.Image) -> Image.Image:
    """Return a picture of 32 bits as L. Its range is that of the usual kinds: shares of 1, or 8, 16 or 32 bits."""
    highest = float(picture.getextrema()[1])  # type: ignore[arg-type]  # one pair, because there is one channel
    scale = next((255 / limit for limit in (1, 255, 0xFFFF) if highest <= limit), 255 / 2**31)
    if picture.mode == "I" and highest <= 0xFFFF:
        scale = 1 / 257
    return picture.point(lambda value: value * scale + 0.0).convert("L")


def _of_lab(picture: Image.Image) -> Image.Image:
    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), _SRGB, "LAB", "RGB")
    return ImageCms.applyTransform(picture, transform) or picture.convert("L")


def _coloured(picture: Image.Image, profile: bytes | None) -> Image.Image:
    if picture.mode == "RGBA":
        picture = on_paper(picture)
    with contextlib.suppress(Exception):  # a broken profile, or one of another colour space: the picture is readable without it
        return _profiled(picture, profile or b"")
    return picture.convert("RGB") if picture.mode == "CMYK" else picture


def _profiled(picture: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.getOpenProfile(BytesIO(profile))
    if _PROFILE_MODES.get(source.profile.xcolor_space) != picture.mode:
        raise ValueError("a profile of another colour space")
    target = "L" if picture.mode == "L" else "RGB"
    wanted = _SRGB if target == "RGB" else ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(picture, source, wanted, outputMode="RGB")
    if converted is None:
        raise ValueError("no conversion")
    return converted.convert(target)
