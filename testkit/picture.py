"""Small images like those of submissions."""

import base64
import io

from PIL import Image, PngImagePlugin

from testkit.cells import with_text

Colour = tuple[int, int, int]
GREY = (200, 200, 200)


def jpeg(comment: str | None = None, colour: Colour = GREY) -> bytes:
    stream = io.BytesIO()
    picture = Image.new("RGB", (40, 30), colour)
    if comment is not None:
        with_text(picture, comment).save(stream, "JPEG", comment=comment.encode())
    else:
        picture.save(stream, "JPEG")
    return stream.getvalue()


def png(comment: str | None = None, colour: Colour = GREY, key: str = "comment") -> bytes:
    chunks = PngImagePlugin.PngInfo()
    picture = Image.new("RGB", (40, 30), colour)
    if comment is not None:
        chunks.add_itxt(key, comment)
        picture = with_text(picture, comment)
    stream = io.BytesIO()
    picture.save(stream, "PNG", pnginfo=chunks)
    return stream.getvalue()


def base64_text(image: bytes) -> str:
    return base64.b64encode(image).decode()
