"""Small images like those of submissions."""

import base64
import io

from PIL import Image, PngImagePlugin

Colour = tuple[int, int, int]
GREY = (200, 200, 200)


def jpeg(comment: str | None = None, colour: Colour = GREY) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(stream, "JPEG", **({} if comment is None else {"comment": comment.encode()}))
    return stream.getvalue()


def png(comment: str | None = None, colour: Colour = GREY, key: str = "comment") -> bytes:
    chunks = PngImagePlugin.PngInfo()
    if comment is not None:
        chunks.add_itxt(key, comment)
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(stream, "PNG", pnginfo=chunks)
    return stream.getvalue()


def base64_text(image: bytes) -> str:
    return base64.b64encode(image).decode()
