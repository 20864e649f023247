"""Pictures whose right look can be told: a mark of another colour in each corner, and writing on every row in between.

The writing fills the page, so that a missing, shifted or grey part of a decoded picture is seen.
"""

import random
import struct
import zlib
from io import BytesIO
from typing import Any

import pillow_heif
from PIL import ExifTags, Image, ImageChops, ImageCms, ImageDraw, ImageStat, PngImagePlugin, TiffImagePlugin

pillow_heif.register_heif_opener()

SIZE = (480, 640)
CORNERS = {"top left": (220, 20, 20), "top right": (20, 160, 20), "bottom left": (20, 20, 220), "bottom right": (20, 20, 20)}
PLACES = {"name": "Anna Beispiel", "latitude": (48.0, 8.0, 14.0)}
SECRET = b"Anna Beispiel"
_LIKENESS = 28  # mean difference of two pictures that a lossy format has made from one


def drawn(size: tuple[int, int] = SIZE, seed: int = 1) -> Image.Image:
    """Draw the page."""
    chance = random.Random(seed)
    page = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(page)
    for y in range(4, size[1], 12):
        for x in range(4, size[0] - 8, 14):
            pen.line((x, y, x + chance.randint(2, 11), y + chance.randint(-5, 5)), fill=(40, 40, 90), width=2)
    for name, colour in CORNERS.items():
        pen.rectangle(_corner(name, size), fill=colour)
    return page


def _corner(name: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = size[0] // 6, size[1] // 6
    left, top = (0 if "left" in name else size[0] - width), (0 if "top" in name else size[1] - height)
    return left, top, left + width, top + height


def corners(picture: Image.Image) -> list[str]:
    """Name the colours in the corners, from the top left one on in reading order. They are CORNERS if the picture is right."""
    found = []
    for name in CORNERS:
        left, top, right, bottom = _corner(name, picture.size)
        seen: Any = picture.convert("RGB").getpixel(((left + right) // 2, (top + bottom) // 2))
        found.append(min(CORNERS, key=lambda each: sum(abs(a - b) for a, b in zip(CORNERS[each], seen, strict=True))))
    return found


def difference(seen: Image.Image, meant: Image.Image) -> float:
    """Return the mean difference of the worst of 20 bands, which a missing part of the picture makes high."""
    changed = ImageChops.difference(seen.convert("RGB"), meant.convert("RGB").resize(seen.size)).convert("L")
    step = max(1, changed.height // 20)
    bands = [changed.crop((0, top, changed.width, min(top + step, changed.height))) for top in range(0, changed.height, step)]
    return max(ImageStat.Stat(band).mean[0] for band in bands)


def is_like(seen: Image.Image, meant: Image.Image) -> bool:
    return difference(seen, meant) < _LIKENESS


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    target = BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = number
    return exif


def turned_heic(picture: Image.Image, exif: Image.Exif) -> bytes:
    """Write a HEIC as phones do: the turn is a property of the picture, and in its EXIF data too."""
    target = BytesIO()
    pillow_heif.from_pillow(picture).save(target, exif=exif.tobytes(), quality=90)
    return target.getvalue()


def personal() -> Image.Exif:
    """EXIF data with a name and a place."""
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = SECRET.decode()
    exif[ExifTags.Base.ImageDescription] = SECRET.decode()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = PLACES["latitude"]
    return exif


def png_text() -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("comment", SECRET.decode())
    chunks.add_text("Author", SECRET.decode(), zip=True)
    return chunks


def png_chunk(kind: bytes, body: bytes, *, is_sound: bool = True) -> bytes:
    return struct.pack("!I", len(body)) + kind + body + struct.pack("!I", zlib.crc32(kind + body) ^ (not is_sound))


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(content):
        (size,) = struct.unpack_from("!I", content, at)
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def png_of(chunks: list[tuple[bytes, bytes]], unsound: int | None = None) -> bytes:
    """Write chunks. The one with the index `unsound` gets a wrong checksum."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(kind, body, is_sound=index != unsound) for index, (kind, body) in enumerate(chunks)
    )


def in_pieces(content: bytes, pieces: int = 50) -> list[tuple[bytes, bytes]]:
    """Return a PNG's chunks with its data in many chunks, as most programs write it."""
    chunks = png_chunks(content)
    data = b"".join(body for kind, body in chunks if kind == b"IDAT")
    step = -(-len(data) // pieces)
    split = [(b"IDAT", data[at : at + step]) for at in range(0, len(data), step)]
    before = [chunk for chunk in chunks if chunk[0] not in {b"IDAT", b"IEND"}]
    return [*before, *split, (b"IEND", b"")]


def jpeg_segment(marker: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0xFF, marker, len(body) + 2) + body


def with_segment(content: bytes, segment: bytes) -> bytes:
    """Put a segment at the beginning of a JPEG."""
    return content[:2] + segment + content[2:]


def ink(colours: list[tuple[int, int, int]]) -> Image.Image:
    """Draw strokes on nothing, each in the next colour."""
    drawing = Image.new("RGBA", (320, 320), (0, 0, 0, 0))
    pen = ImageDraw.Draw(drawing)
    for number, y in enumerate(range(20, 310, 30)):
        pen.line((20, y, 300, y), fill=(*colours[number % len(colours)], 255), width=8)
    return drawing


def wide_gamut_profile() -> bytes:
    """A profile whose red and green are exchanged, so that a picture in it tells whether it was converted."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    profile[red + 4 : red + 12], profile[green + 4 : green + 12] = profile[green + 4 : green + 12], profile[red + 4 : red + 12]
    return bytes(profile)


def tiff_with_tags(picture: Image.Image, **tags: int) -> bytes:
    """Write a TIFF with further tags, by their numbers in words."""
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        directory[int(name.removeprefix("tag_"))] = value
    return saved(picture, "TIFF", tiffinfo=directory)


def interlaced_png() -> bytes:
    """Write a grey PNG of 8 × 8 pixels in the seven passes, of which each has rows of its own length."""
    passes = ((1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4))  # pixels of a row, rows
    rows = b"".join((b"\0" + bytes(range(10, 10 + width))) * height for width, height in passes)
    header = struct.pack("!IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    return png_of([(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])
