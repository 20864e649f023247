"""The text that the simulated vision model reads in an image."""

import hashlib
import io
from functools import lru_cache

from PIL import Image

from testkit.drawn_marks import marks_in

CACHED = 64  # pictures, because chaos and benchmarks show the same ones again
READABLE_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")  # formats of the real engine, WebP is converted by Ollama
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
    """The bytes are not an image of a known format, or the image is damaged."""


@lru_cache(maxsize=CACHED)
def ocr_text(image_bytes: bytes) -> str:
    """Return the metadata field "comment" (JPEG comment, PNG text chunk of that name in any case, UTF-8).

    For an image without a comment, the marks that are drawn on it are read from top to bottom. Without marks, one or two
    sentences are chosen by the sha256 of its size and RGB pixels. Tests and the demo compute the expected text of a submission
    with this function.
    """
    try:
        with Image.open(io.BytesIO(image_bytes), formats=READABLE_FORMATS) as image:
            image.load()  # raises for a damaged image, and reads the text chunks behind the pixels
            return _comment(image) or "\n".join(marks_in(image)) or _sentences(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # the four exceptions of Pillow
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


LONGEST_SHORT_PROMPT_CHARACTERS = 60
DESCRIPTION = "Das Bild zeigt eine linierte Seite mit mehreren Zeilen, die von Hand geschrieben wurden."
END_OF_TURN = "<|user|>"  # the second end token of glm-ocr, which the engine writes out instead of ending
LOOP = " Happy birthday to you!"


def in_manner(manner: str, prompt: str, read: str) -> str:
    """Return the answer of a vision model that has a manner: some answer only to the short prompt of their training."""
    is_short = len(prompt) <= LONGEST_SHORT_PROMPT_CHARACTERS
    match manner:
        case "blind":
            return ""
        case "describing":
            return DESCRIPTION
        case "short-prompts":
            return read if is_short else DESCRIPTION
        case "looping":
            return f"{read}\n{END_OF_TURN}" * 1000 if is_short else LOOP * 4000
    return read
