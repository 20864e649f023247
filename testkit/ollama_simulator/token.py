"""Tokens: the pieces in which a text is counted and streamed."""

import io
import re
import zlib

from PIL import Image

PIECE = re.compile(r"\s*\w{1,8}|\s*[^\w\s]|\s+")  # German words of up to eight letters, signs, white space before them
VOCABULARY_SIZE = 151_936  # of the Qwen 2.5 family
LEAST_IMAGE_TOKENS = 1024  # llama-server gets --image-min-tokens 1024 for this family
IMAGE_SQUARE_PIXELS = 28  # of one token


def tokens(text: str) -> list[str]:
    """Split a text into pieces. Joined, they are the text again."""
    return PIECE.findall(text)


def token_id(piece: str) -> int:
    """Return the number of a piece in the `context` of /api/generate. Equal pieces have equal numbers."""
    return zlib.crc32(piece.encode("utf-8", errors="replace")) % VOCABULARY_SIZE


def image_tokens(image: bytes) -> int:
    """Return the tokens of a picture: its squares of 28 pixels, and a mark at the end of each row."""
    try:
        with Image.open(io.BytesIO(image)) as opened:
            width, height = (-(-side // IMAGE_SQUARE_PIXELS) for side in opened.size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return LEAST_IMAGE_TOKENS
    return max(LEAST_IMAGE_TOKENS, (width + 1) * height)
