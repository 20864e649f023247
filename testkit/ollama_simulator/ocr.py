"""What the simulated vision model reads in an image."""

import hashlib
import io

from PIL import Image

READABLE_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")  # what the real engine decodes, WebP by way of Ollama
SENTENCES = (
    "Zuerst habe ich die Länge gemessen und dann alles zusammengezählt.",
    "Die Pflanze braucht Licht, Wasser und Luft, damit sie wachsen kann.",
    "3 · 14 = 42, also reicht das Geld für zwei Karten.",
    "Im Herbst färben sich die Blätter, weil der Baum das Blattgrün abbaut.",
    "Der Erzähler wechselt im dritten Absatz von der Gegenwart in die Vergangenheit.",
    "Ein Dreieck mit drei gleichen Seiten hat drei Winkel von je 60 Grad.",
    "Das Wasser verdunstet, steigt auf und fällt als Regen wieder zur Erde.",
)


class UnreadableImageError(ValueError):
    """The bytes are no image of a known format, or a damaged one."""


def ocr_text(image_bytes: bytes) -> str:
    """The text in the image's metadata field "comment" (JPEG comment, PNG text chunk of that name in any case, UTF-8).

    An image without one gets a sentence or two, chosen by the sha256 of its size and RGB pixels. Tests and the demo call this
    same function to know what a submission's text must be.
    """
    try:
        with Image.open(io.BytesIO(image_bytes), formats=READABLE_FORMATS) as image:
            image.load()  # a damaged image fails here; text chunks behind the pixels are known after it
            return _comment(image) or _sentences(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's four ways to say so
        raise UnreadableImageError("not a readable image") from error


def _comment(image: Image.Image) -> str:
    values = [value for key, value in image.info.items() if str(key).lower() == "comment"]
    if not values:
        return ""
    return values[0].decode("utf-8", errors="replace") if isinstance(values[0], bytes) else str(values[0])


def _sentences(image: Image.Image) -> str:
    pixels = hashlib.sha256(f"{image.width}x{image.height}:".encode() + image.convert("RGB").tobytes())
    first, second = pixels.digest()[:2]
    chosen = SENTENCES[first % len(SENTENCES)], SENTENCES[second % len(SENTENCES)]
    return " ".join(dict.fromkeys(chosen))
