"""Variables that look like settings and are none: misspelled names have no effect, so they are reported."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

OWN_PREFIXES = ("AI_", "WORKER_", "LEARNING_", "OLLAMA_", "ADMISSION_", "DRAIN_", "RESTART_", "STORAGE_")
_CLOSE, _CLOSE_ELSEWHERE = 0.75, 0.9  # of 1: the names of other programs are similar by chance
_OLLAMA = """
    OLLAMA_HOST OLLAMA_ORIGINS OLLAMA_MODELS OLLAMA_KEEP_ALIVE OLLAMA_LOAD_TIMEOUT OLLAMA_CONTEXT_LENGTH OLLAMA_KV_CACHE_TYPE
    OLLAMA_FLASH_ATTENTION OLLAMA_MAX_QUEUE OLLAMA_MAX_VRAM OLLAMA_GPU_OVERHEAD OLLAMA_SCHED_SPREAD OLLAMA_NEW_ENGINE
    OLLAMA_NEW_ESTIMATES OLLAMA_MULTIUSER_CACHE OLLAMA_LLM_LIBRARY OLLAMA_LIBRARY_PATH OLLAMA_RUNNERS_DIR OLLAMA_TMPDIR
    OLLAMA_HOME OLLAMA_NOHISTORY OLLAMA_NOPRUNE OLLAMA_DEBUG OLLAMA_DEBUG_LOG_REQUESTS OLLAMA_INTEL_GPU OLLAMA_VULKAN
    OLLAMA_AUTH OLLAMA_REMOTES
    OLLAMA_USE_AUTH OLLAMA_VERSION OLLAMA_API_KEY OLLAMA_EDITOR OLLAMA_LLAMA_EXTRA_ARGS OLLAMA_NO_CLOUD
"""
_PLATFORM = """
    AI_TEXT_MODEL AI_VISUAL_MODEL AI_OCR_MODEL AI_OCR_TEMPERATURE AI_OCR_THINK_LEVEL WORKER_TEST_RUN_ID WORKER_SKIP_PYTEST_JOBS
    LEARNING_EXPORT_MAX_BYTES WORKER_LEASE_MULTIPLIER
"""
_PLATFORM_PREFIXES = ("OPENAI_", "DSPY_", "KC_", "GUSTAV_", "H5P_", "SESSION_", "TEACHING_", "COURSE_INVITE_")
_STAGES = [f"AI_{kind}{stage}" for kind in ("TEXT", "VISUAL") for stage in ("", "_ANALYSIS", "_SYNTHESIS")]
_OF_STAGES = [f"{stage}_{option}" for stage in _STAGES for option in ("TEMPERATURE", "REASONING_EFFORT", "THINK_LEVEL")]
FOREIGN = frozenset((*_OLLAMA.split(), *_PLATFORM.split(), *_OF_STAGES))  # of the Ollama server and of the platform


@dataclass(frozen=True, slots=True)
class UnknownVariable:
    """`meant` is the setting with the most similar name, or ''."""

    name: str
    meant: str

    @property
    def remedy(self) -> str:
        """The remedy, without the value."""
        hint = f"did you mean {self.meant}?" if self.meant else "correct its name, or remove it"
        return f"is no setting and has no effect: {hint}"


def unknown_among(names: Iterable[str], settings: Collection[str]) -> Iterator[UnknownVariable]:
    """Yield the names with a prefix of ours, or nearly that of a setting, which neither we nor a known neighbour reads."""
    for name in names:
        if name in settings or name in FOREIGN or name.startswith(_PLATFORM_PREFIXES):
            continue
        is_ours = name.upper().startswith(OWN_PREFIXES)
        meant = _meant(name.upper(), settings, _CLOSE if is_ours else _CLOSE_ELSEWHERE)
        if is_ours or meant:
            yield UnknownVariable(name, meant)


def _meant(name: str, settings: Collection[str], cutoff: float) -> str:
    """The setting with the same words in another order, else the one with the most similar letters, else ''."""
    words = sorted(name.split("_"))
    close = [each for each in settings if sorted(each.split("_")) == words] or get_close_matches(name, settings, 1, cutoff)
    return close[0] if close else ""
