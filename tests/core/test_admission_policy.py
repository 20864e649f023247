"""The settings of admission: the notation of memory sizes, rejected values, and the resulting policy."""

from dataclasses import replace

import pytest

from supervisor.admission.policy import AdmissionPolicy, TakeTurns
from supervisor.monitor.ollama.policy import admission_policy
from supervisor.settings.memory_size import MemorySize
from supervisor.settings.model import Settings, parse
from supervisor.settings.problems import SettingsError
from worker.ollama.models import listed_name

GIB = 2**30
DSN = "postgresql://worker@db/platform"
LOCAL = {"AI_BACKEND": "local"}


def parsed(**values: str) -> Settings:
    """The settings, with Ollama on this host if no other address is given."""
    here = {"OLLAMA_BASE_URL": "http://127.0.0.1:11434"}
    return parse({"AI_BACKEND": "stub", "LEARNING_DATABASE_URL": DSN, **here, **values})


def policy_of(**values: str) -> AdmissionPolicy:
    return admission_policy(parsed(**values), 100 * GIB)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", MemorySize()),
        ("  ", MemorySize()),
        ("0", MemorySize()),
        ("8589934592", MemorySize(8 * GIB)),
        ("8G", MemorySize(8 * GIB)),
        (" 8gib ", MemorySize(8 * GIB)),
        ("8GB", MemorySize(8 * GIB)),
        ("512M", MemorySize(GIB // 2)),
        ("3k", MemorySize(3072)),
        ("2T", MemorySize(2048 * GIB)),
        ("80%", MemorySize(share=0.8)),
        ("1%", MemorySize(share=0.01)),
        ("100%", MemorySize(share=1.0)),
    ],
)
def test_an_amount_of_memory(text: str, size: MemorySize) -> None:
    """Bytes, units of 1024, or a share."""
    assert MemorySize.parse(text) == size


@pytest.mark.parametrize("text", ["0%", "101%", "-1", "8.5G", "G", "8X", "lots", "80 %", "1" * 16])
def test_an_invalid_amount_of_memory(text: str) -> None:
    """The error names the variable and an example of a valid value."""
    with pytest.raises(SettingsError) as caught:
        parsed(OLLAMA_MEMORY_LIMIT=text)
    assert [problem.variable for problem in caught.value.problems] == ["OLLAMA_MEMORY_LIMIT"]
    assert "8G" in str(caught.value)


def test_a_share_needs_ollama_on_this_host() -> None:
    """The memory of a remote host is unknown. A size in bytes is valid for any host."""
    remote = {"OLLAMA_BASE_URL": "http://ollama:11434"}
    with pytest.raises(SettingsError, match=r"OLLAMA_MEMORY_LIMIT=80%: give bytes"):
        parsed(OLLAMA_MEMORY_LIMIT="80%", **remote)
    assert policy_of(OLLAMA_MEMORY_LIMIT="80%").limit_bytes == 80 * GIB
    assert policy_of(OLLAMA_MEMORY_LIMIT="80%", OLLAMA_BASE_URL="http://[::1]:11434").limit_bytes == 80 * GIB
    assert policy_of(OLLAMA_MEMORY_LIMIT="8G", **remote).limit_bytes == 8 * GIB


def test_the_low_water_is_below_the_limit() -> None:
    """By default it is a share of the limit, and it is never above the limit."""
    assert policy_of(OLLAMA_MEMORY_LIMIT="10G").low_water_bytes == int(0.85 * 10 * GIB)
    assert policy_of(OLLAMA_MEMORY_LIMIT="10G", OLLAMA_MEMORY_LOW_WATER="7G").low_water_bytes == 7 * GIB
    assert policy_of(OLLAMA_MEMORY_LIMIT="10%", OLLAMA_MEMORY_LOW_WATER="12G").low_water_bytes == 10 * GIB
    with pytest.raises(SettingsError, match=r"OLLAMA_MEMORY_LOW_WATER=8G: give less"):
        parsed(OLLAMA_MEMORY_LIMIT="8G", OLLAMA_MEMORY_LOW_WATER="8G")


@pytest.mark.parametrize("text", ["0", "100%"])
def test_a_low_water_of_nothing_or_the_limit_is_rejected(text: str) -> None:
    """At 0 no slot would ever open again. At the limit there is no hysteresis."""
    for limit in ("8G", "80%"):
        with pytest.raises(SettingsError, match=r"OLLAMA_MEMORY_LOW_WATER=.*more than nothing"):
            parsed(OLLAMA_MEMORY_LIMIT=limit, OLLAMA_MEMORY_LOW_WATER=text)


def test_without_settings_there_is_no_limit() -> None:
    """And no model, because a stub asks none."""
    policy = policy_of()
    assert (policy.models, policy.limit_bytes, policy.low_water_bytes) == ((), 0, 0)


def test_a_foreign_adapter_is_never_held_back() -> None:
    """Its model is unknown here. Waiting for a model that it never loads would hold back all work."""
    policy = policy_of(**LOCAL, LEARNING_VISION_ADAPTER="platform.vision")
    assert (policy.vision_model, policy.feedback_model) == (None, "gpt-oss:latest")
    assert policy_of(**LOCAL, LEARNING_FEEDBACK_ADAPTER="platform.feedback").feedback_model is None


def test_the_policy_defaults_are_the_settings_defaults() -> None:
    """Both places that define a default must agree."""
    defaults = AdmissionPolicy("qwen2.5vl:3b", "gpt-oss:latest")
    assert policy_of(**LOCAL) == replace(defaults, vision_context_tokens=12_288, feedback_context_tokens=17_408)


def test_the_settings_numbers_reach_the_rules() -> None:
    """Each setting ends in the field that belongs to it."""
    policy = policy_of(
        **LOCAL,
        AI_VISION_MODEL="see",
        AI_FEEDBACK_MODEL="host:5000/say",
        AI_NUM_CTX="4096",
        AI_NUM_CTX_FEEDBACK="8192",
        AI_TIMEOUT_VISION="40",
        AI_TIMEOUT_FEEDBACK="20",
        AI_TAKE_TURNS="true",
        OLLAMA_NUM_PARALLEL="3",
        OLLAMA_MAX_LOADED_MODELS="1",
        ADMISSION_MAX_HOLD_SECONDS="90",
        ADMISSION_SAMPLE_SECONDS="4",
    )
    assert policy == AdmissionPolicy(
        "see:latest",
        "host:5000/say:latest",
        num_parallel=3,
        max_loaded_models=1,
        take_turns=TakeTurns.ALWAYS,
        vision_context_tokens=4096,
        feedback_context_tokens=8192,
        vision_timeout_seconds=40,
        feedback_timeout_seconds=20,
        sample_seconds=4,
        max_hold_seconds=90,
        grace_seconds=20,
    )


@pytest.mark.parametrize("name", ["see:3b", "host:5000/see:3b"])
def test_a_name_with_its_tag_stays(name: str) -> None:
    assert listed_name(name) == name
