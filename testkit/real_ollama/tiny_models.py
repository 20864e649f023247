"""Tiny models with known answers for a real Ollama. scripts/real_ollama runs this once, with gguf installed.

Attention and feed-forward layers are zero. Each token has a unit vector as embedding, so the output matrix determines the next
token. `chain` answers with SENTENCE, `loop` does not end, `stutter` repeats one token, `chain-vision` is `chain` with a
projector. With a JSON schema they put the sentence into strings and 0 into numbers.
"""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter, TokenType

WORDS = ("▁Die", "▁Rechnung", "▁ist", "▁richtig", "▁und", "▁der", "▁Weg", "▁ist▁", "▁gut", "▁beschrieben", "▁.")
STUTTER = ("▁…",)
WIDTH, HEADS, KEY_VALUE_HEADS, FORWARD = 512, 4, 2, 64
IMAGE, PATCH, VISION_WIDTH, VISION_FORWARD = 56, 14, 32, 64
END = 2  # </s>
CLOSING = '"}],:0'  # the end of a document, the most likely character first
TEMPLATE = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}[assistant]:"
START_SECONDS = 30.0


def write_text_model(path: Path, words: Sequence[str], *, ends: bool) -> None:
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(32_768)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_file_type(0)
    writer.add_quantization_version(2)
    tokens = _add_tokenizer(writer, words)  # last, because Ollama's list of models reads only the fields before it
    writer.add_vocab_size(len(tokens))
    _add_weights(writer, tokens, len(words), ends=ends)
    _finish(writer)


def _add_tokenizer(writer: Any, words: Sequence[str]) -> list[str]:
    """Add the vocabulary of Llama 1: three special tokens, all bytes, printable ASCII, a space, and the words."""
    printable = [chr(code) for code in range(33, 127)] + ["▁"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *printable, *words]
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, *[TokenType.BYTE] * 256]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * (3 + 256) + [-1.0] * len(printable) + [0.0] * len(words))
    writer.add_token_types([*kinds, *[TokenType.NORMAL] * (len(printable) + len(words))])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(END)
    writer.add_chat_template(TEMPLATE)
    return tokens


def _add_weights(writer: Any, tokens: list[str], word_count: int, *, ends: bool) -> None:
    embedding = np.eye(len(tokens), WIDTH, dtype=np.float32)
    output = np.zeros((len(tokens), WIDTH), dtype=np.float32)  # [next token, this token]
    first = len(tokens) - word_count
    output[first, :first] = 1.0
    for word in range(first, len(tokens) - 1):
        output[word + 1, word] = 1.0
    last = len(tokens) - 1
    output[END if ends else first, last] = 1.0
    output[tokens.index('"'), last] = 0.5  # a string in a document closes after the sentence
    for rank, sign in enumerate(CLOSING):
        row = output[tokens.index(sign)]
        row[: len(tokens)] = np.maximum(row[: len(tokens)], 0.1 - rank * 0.01)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, dtype=np.float32))
    writer.add_tensor("output.weight", output)
    narrow = WIDTH // HEADS * KEY_VALUE_HEADS
    shapes = {"attn_q": (WIDTH, WIDTH), "attn_k": (narrow, WIDTH), "attn_v": (narrow, WIDTH), "attn_output": (WIDTH, WIDTH)}
    shapes |= {"ffn_gate": (FORWARD, WIDTH), "ffn_up": (FORWARD, WIDTH), "ffn_down": (WIDTH, FORWARD)}
    for name, shape in shapes.items():
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros(shape, dtype=np.float32))
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(WIDTH, dtype=np.float32))


def write_projector(path: Path) -> None:
    """Write a projector of zeros, so that the answer is the same for every picture."""
    writer = GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", False)
    writer.add_file_type(0)
    sizes = {"image_size": IMAGE, "patch_size": PATCH, "embedding_length": VISION_WIDTH, "feed_forward_length": VISION_FORWARD}
    sizes |= {"block_count": 1, "attention.head_count": 2, "projection_dim": WIDTH}
    for name, number in sizes.items():
        writer.add_uint32(f"clip.vision.{name}", number)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    for name in ("image_mean", "image_std"):
        writer.add_array(f"clip.vision.{name}", [0.5, 0.5, 0.5])
    for name, shape in _projector_shapes().items():
        writer.add_tensor(name, np.full(shape, 1.0 if "ln" in name and "weight" in name else 0.0, dtype=np.float32))
    _finish(writer)


def _projector_shapes() -> dict[str, tuple[int, ...]]:
    width, forward = VISION_WIDTH, VISION_FORWARD
    shapes: dict[str, tuple[int, ...]] = {
        "v.patch_embd.weight": (width, 3, PATCH, PATCH),
        "v.class_embd": (width,),
        "v.position_embd.weight": ((IMAGE // PATCH) ** 2 + 1, width),
    }
    layers = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_out"), (width, width))
    layers |= {"ffn_up": (forward, width), "ffn_down": (width, forward)}
    matrices = {f"v.blk.0.{name}": shape for name, shape in layers.items()} | {"mm.0": (WIDTH, width), "mm.2": (WIDTH, WIDTH)}
    for name, shape in matrices.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in ("v.pre_ln", "v.blk.0.ln1", "v.blk.0.ln2"):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return shapes


def _finish(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@contextmanager
def _server(program: str, home: Path) -> Iterator[str]:
    """Run a server for the import of the models."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environ = {**os.environ, "OLLAMA_HOST": address, "OLLAMA_MODELS": str(home / "models"), "OLLAMA_NO_CLOUD": "1"}
    with subprocess.Popen([program, "serve"], env=environ) as server:
        try:
            _wait_for(f"http://{address}/api/version")
            yield f"http://{address}"
        finally:
            server.terminate()


def _wait_for(url: str) -> None:
    until_seconds = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=START_SECONDS).close()
        except urllib.error.URLError:
            if time.monotonic() > until_seconds:
                raise
            time.sleep(0.1)
        else:
            return


def _import_model(url: str, name: str, files: Sequence[Path]) -> None:
    digests = {}
    for file in files:
        content = file.read_bytes()
        digests[file.name] = f"sha256:{hashlib.sha256(content).hexdigest()}"
        _upload(f"{url}/api/blobs/{digests[file.name]}", content)
    answer = _post(f"{url}/api/create", json.dumps({"model": name, "files": digests, "stream": False}).encode())
    if b"success" not in answer:
        raise RuntimeError(answer.decode())


def _upload(url: str, content: bytes) -> None:
    """Upload a file unless it exists: the server does not read an existing one, and the connection breaks."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=START_SECONDS).close()
    except urllib.error.HTTPError:
        _post(url, content)


def _post(url: str, body: bytes) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, body, method="POST"), timeout=600) as response:
        content: bytes = response.read()
        return content


def main(program: str, home: Path) -> None:
    directory = home / "gguf"
    text = {"chain": (WORDS, True), "loop": (WORDS, False), "stutter": (STUTTER, False)}
    for name, (words, ends) in text.items():
        write_text_model(directory / f"{name}.gguf", words, ends=ends)
    write_projector(directory / "projector.gguf")
    with _server(program, home) as url:
        for name in text:
            _import_model(url, name, [directory / f"{name}.gguf"])
        _import_model(url, "chain-vision", [directory / "chain.gguf", directory / "projector.gguf"])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
