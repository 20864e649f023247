"""A real Ollama with the tiny models: the one at OLLAMA_BASE_URL, else a new one from `ollama` or scripts/real_ollama."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from testkit.waiting import LIMIT_SECONDS, until
from worker.ollama.address import LOOPBACK

VERSION = "v0.32.15"  # scripts/real_ollama builds this one
MODELS = frozenset({"chain:latest", "chain-vision:latest", "loop:latest", "stutter:latest"})
SENTENCE = "Die Rechnung ist richtig und der Weg ist  gut beschrieben ."
# The settings with which the answers in recordings/ were made.
ENVIRONMENT = {
    "OLLAMA_NUM_PARALLEL": "2",
    "OLLAMA_MAX_LOADED_MODELS": "2",
    "OLLAMA_MAX_QUEUE": "4",
    "OLLAMA_CONTEXT_LENGTH": "8192",
    "OLLAMA_NO_CLOUD": "1",
}
BUILD = "real Ollama: not tested, there is none (scripts/real_ollama --prepare builds one)"


def home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "learning-supervisor" / f"ollama-{VERSION}"


def why_not() -> str:
    """Return the reason for which there is no real server, empty if there is one."""
    url = os.environ.get("OLLAMA_BASE_URL")
    if url:
        return _why_not_at(url)
    return "" if _program() and (home() / "models.done").exists() else BUILD


@contextmanager
def real_server() -> Iterator[str]:
    """Yield the URL of a real server. A new server ends with the block."""
    url = os.environ.get("OLLAMA_BASE_URL")
    if url:
        yield url
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environ = {**os.environ, **ENVIRONMENT, "OLLAMA_HOST": address, "OLLAMA_MODELS": str(home() / "models")}
    silent = subprocess.DEVNULL
    with subprocess.Popen([_program(), "serve"], env=environ, stdout=silent, stderr=silent) as server:
        try:
            until(lambda: _answers(f"http://{address}"))
            yield f"http://{address}"
        finally:
            server.terminate()  # it ends its runners


def _program() -> str:
    return shutil.which("ollama") or shutil.which(home() / "bin/ollama") or ""


def _why_not_at(url: str) -> str:
    """Check a given server. Only a local one is used, because the tests load and unload models."""
    if urlsplit(url).hostname not in LOOPBACK:
        return "real Ollama: not tested, OLLAMA_BASE_URL is not on loopback"
    if not _answers(url):
        return "real Ollama: not tested, no answer from OLLAMA_BASE_URL"
    listed = {model["name"] for model in httpx.get(f"{url}/api/tags", trust_env=False).json()["models"]}
    return (
        ""
        if listed >= MODELS
        else "real Ollama: not tested, the server at OLLAMA_BASE_URL lacks the models of scripts/real_ollama"
    )


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/version", trust_env=False, timeout=LIMIT_SECONDS).is_success
    except httpx.TransportError:
        return False
