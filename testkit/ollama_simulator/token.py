"""Tokens: the pieces in which a text is counted and streamed."""

import re
import zlib

PIECE = re.compile(r"\s*\w{1,8}|\s*[^\w\s]|\s+")  # German words of up to eight letters, signs, white space before them
VOCABULARY_SIZE = 151_936  # of the Qwen 2.5 family
TOKENS_PER_IMAGE = 1024  # llama-server gets --image-min-tokens 1024 for this family


def tokens(text: str) -> list[str]:
    """Split a text into pieces. Joined, they are the text again."""
    return PIECE.findall(text)


def token_id(piece: str) -> int:
    """Return the number of a piece in the `context` of /api/generate. Equal pieces have equal numbers."""
    return zlib.crc32(piece.encode("utf-8", errors="replace")) % VOCABULARY_SIZE
