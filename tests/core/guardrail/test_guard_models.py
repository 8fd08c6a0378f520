"""What is known of each Llama Guard model, and which one an id means."""

from __future__ import annotations

import pytest

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.guard_models import GuardModel, GuardSize
from llama_guard_core.guardrail.hazards import LlamaGuardVersion

IDS = {
    (1, "7b"): [
        "LlamaGuard-7b",
        "meta-llama/LlamaGuard-7b",
        "accounts/fireworks/models/llamaguard-7b",
        "@hf/thebloke/llamaguard-7b-awq",
        "jumpstart-dft-meta-textgeneration-llama-guard-7b",
    ],
    (2, "8b"): [
        "meta-llama/llama-guard-2-8b",
        "meta-llama/Meta-Llama-Guard-2-8B",
        "Meta-Llama/LlamaGuard-2-8b",
        "accounts/fireworks/models/llama-guard-2-8b",
    ],
    (3, "8b"): [
        "llama-guard3",
        "llama-guard3:latest",
        "llama-guard3:8b",
        "llama-guard-3-8b",
        "@cf/meta/llama-guard-3-8b",
        "Meta-Llama-Guard-3-8B",
        "meta-llama/Llama-Guard-3-8B",
        "Llama-Guard-3-8B-INT8",
        "Llama-Guard-3-8B.Q4_K_M.gguf",
        "accounts/fireworks/models/llama-guard-3-8b",
        "llama-guard-3-8b@sha256:01b11bc",
    ],
    (3, "1b"): [
        "llama-guard3:1b",
        "llama-guard3:1b-q3_K_M",
        "meta-llama/Llama-Guard-3-1B",
        "Llama-Guard-3-1B-INT4",
        "Llama-Guard-3-1B.Q4_K_M.gguf",
        "accounts/fireworks/models/llama-guard-3-1b",
    ],
    (3, "11b-vision"): [
        "meta-llama/llama-guard-3-11b-vision",
        "Llama-Guard-3-11B-Vision",
        "meta-llama/Llama-Guard-3-11B-Vision-Turbo",
        "accounts/fireworks/models/llama-guard-3-11b-vision",
    ],
    (4, "12b"): [
        "meta-llama/llama-guard-4-12b",
        "meta-llama/llama-guard-4-12b:nitro",
        "meta-llama/llama-guard-4-12b:free",
        "meta-llama/Llama-Guard-4-12B",
        "meta/llama-guard-4-12b",
        "llama-guard-4",
    ],
}
MODELS = [GuardModel(version, size) for version, size in IDS]  # type: ignore[arg-type]


@pytest.mark.parametrize(("known", "model"), [(known, model) for known, models in IDS.items() for model in models])
def test_a_model_is_told_by_the_ids_that_hosts_use(known: tuple[LlamaGuardVersion, GuardSize], model: str) -> None:
    assert GuardModel(*known) == GuardModel.named(model)


@pytest.mark.parametrize(
    "model",
    [
        "openai/gpt-oss-safeguard-20b",
        "meta-llama/llama-prompt-guard-2-86m",
        "meta-llama/llama-4-scout",
        "llama-guard",
        "llama-guard-5-12b",
        "my-deployment",
        "",
    ],
)
def test_an_id_that_does_not_say_its_version_is_refused_with_what_to_pass(model: str) -> None:
    with pytest.raises(ConfigurationError, match=r"pass version=4 \(or 1, 2, 3\)"):
        GuardModel.named(model)


@pytest.mark.parametrize(
    ("model", "version", "known"),
    [
        ("my-deployment", 4, (4, "12b")),
        ("my-deployment", 3, (3, "8b")),
        ("my-1b", 3, (3, "1b")),
        ("my-11b", 3, (3, "11b-vision")),
        ("llama-guard-3-8b", 2, (2, "8b")),
        ("llama-guard-3-1b", 4, (4, "12b")),
    ],
)
def test_a_told_version_goes_before_the_id_and_the_size_is_still_read_from_it(
    model: str, version: LlamaGuardVersion, known: tuple[LlamaGuardVersion, GuardSize]
) -> None:
    assert GuardModel(*known) == GuardModel.named(model, version)


@pytest.mark.parametrize(("version", "size"), [(1, "8b"), (2, "1b"), (3, "12b"), (4, "11b-vision"), (5, "12b")])
def test_a_model_that_meta_never_published_cannot_be_made(version: LlamaGuardVersion, size: GuardSize) -> None:
    with pytest.raises(ConfigurationError, match="there are 1 7b, 2 8b, 3 8b, 3 1b, 3 11b-vision, 4 12b"):
        GuardModel(version, size)


def facts(model: GuardModel) -> tuple[object, ...]:
    return (
        len(model.taxonomy.categories),
        model.most_images,
        model.content,
        model.takes_excluded,
        model.takes_custom,
        model.begins_with,
    )


def test_what_is_known_of_each_model() -> None:
    assert {
        (1, "7b"): (6, 0, "string", False, False, "<s>"),
        (2, "8b"): (11, 0, "string", False, False, "<|begin_of_text|>"),
        (3, "8b"): (14, 0, "string", False, False, " <|begin_of_text|>"),
        (3, "1b"): (13, 0, "parts", True, True, "<|begin_of_text|>"),
        (3, "11b-vision"): (13, 1, "parts", True, True, "<|begin_of_text|>"),
        (4, "12b"): (14, None, "parts", True, True, "<|begin_of_text|>"),
    } == {(model.version, model.size): facts(model) for model in MODELS}


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_its_taxonomy_is_of_its_version(model: GuardModel) -> None:
    assert model.version == model.taxonomy.version
