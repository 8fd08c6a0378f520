"""The taxonomies of the Llama Guard versions."""

from __future__ import annotations

import pytest

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.hazards import LlamaGuardVersion, Taxonomy, is_hazard

VERSION_1 = {
    "O1": "Violence and Hate",
    "O2": "Sexual Content",
    "O3": "Criminal Planning",
    "O4": "Guns and Illegal Weapons",
    "O5": "Regulated or Controlled Substances",
    "O6": "Self-Harm",
}
VERSION_2 = {
    "S1": "Violent Crimes",
    "S2": "Non-Violent Crimes",
    "S3": "Sex-Related Crimes",
    "S4": "Child Sexual Exploitation",
    "S5": "Specialized Advice",
    "S6": "Privacy",
    "S7": "Intellectual Property",
    "S8": "Indiscriminate Weapons",
    "S9": "Hate",
    "S10": "Suicide & Self-Harm",
    "S11": "Sexual Content",
}
VERSION_3 = {
    "S1": "Violent Crimes",
    "S2": "Non-Violent Crimes",
    "S3": "Sex-Related Crimes",
    "S4": "Child Sexual Exploitation",
    "S5": "Defamation",
    "S6": "Specialized Advice",
    "S7": "Privacy",
    "S8": "Intellectual Property",
    "S9": "Indiscriminate Weapons",
    "S10": "Hate",
    "S11": "Suicide & Self-Harm",
    "S12": "Sexual Content",
    "S13": "Elections",
    "S14": "Code Interpreter Abuse",
}


@pytest.mark.parametrize(
    ("version", "names"), [(1, VERSION_1), (2, VERSION_2), (3, VERSION_3), (4, VERSION_3)], ids=["1", "2", "3", "4"]
)
def test_each_version_has_its_own_codes_and_names(version: LlamaGuardVersion, names: dict[str, str]) -> None:
    taxonomy = Taxonomy.of(version)
    assert names == {category.code: category.name for category in taxonomy.categories}
    assert {version} == {category.version for category in taxonomy.categories}


def test_the_code_s5_means_other_things_in_version_2_than_in_3_and_4() -> None:
    named = [Taxonomy.of(version).category("S5").name for version in (2, 3, 4)]
    assert ["Specialized Advice", "Defamation", "Defamation"] == named


@pytest.mark.parametrize(
    ("model", "version", "hazards"),
    [
        ("meta-llama/llama-guard-4-12b", 4, 14),
        ("meta-llama/llama-guard-4-12b:free", 4, 14),
        ("meta-llama/Llama-Guard-4-12B", 4, 14),
        ("meta/llama-guard-4-12b", 4, 14),
        ("llama-guard-4", 4, 14),
        ("meta-llama/llama-guard-3-8b", 3, 14),
        ("meta-llama/Meta-Llama-Guard-3-8B", 3, 14),
        ("meta-llama/Llama-Guard-3-8B", 3, 14),
        ("Meta-Llama-Guard-3-8B", 3, 14),
        ("llama-guard-3-8b", 3, 14),
        ("@cf/meta/llama-guard-3-8b", 3, 14),
        ("accounts/fireworks/models/llama-guard-3-8b", 3, 14),
        ("llama-guard3:8b", 3, 14),
        ("Llama-Guard-3-8B.Q4_K_M.gguf", 3, 14),
        ("llama-guard-3-8b@sha256:01b11bc", 3, 14),
        ("accounts/fireworks/models/llama-guard-3-1b", 3, 13),
        ("llama-guard3:1b", 3, 13),
        ("Llama-Guard-3-1B-INT4", 3, 13),
        ("accounts/fireworks/models/llama-guard-3-11b-vision", 3, 13),
        ("meta-llama/Llama-Guard-3-11B-Vision-Turbo", 3, 13),
        ("meta-llama/llama-guard-3-11b-vision", 3, 13),
        ("Llama-Guard-3-11B-Vision", 3, 13),
        ("meta-llama/llama-guard-2-8b", 2, 11),
        ("accounts/fireworks/models/llama-guard-2-8b", 2, 11),
        ("accounts/fireworks/models/llamaguard-7b", 1, 6),
        ("meta-llama/LlamaGuard-7b", 1, 6),
        ("jumpstart-dft-meta-textgeneration-llama-guard-7b", 1, 6),
    ],
)
def test_the_version_is_read_from_the_model_ids_that_hosts_use(model: str, version: int, hazards: int) -> None:
    taxonomy = Taxonomy.for_model(model)
    assert (version, hazards) == (taxonomy.version, len(taxonomy.categories))


@pytest.mark.parametrize(
    "model",
    [
        "openai/gpt-oss-safeguard-20b",
        "meta-llama/llama-prompt-guard-2-86m",
        "meta-llama/llama-prompt-guard-2-22m",
        "meta-llama/llama-4-scout",
        "my-deployment",
        "",
    ],
)
def test_an_id_that_does_not_say_its_version_is_refused_with_what_to_pass(model: str) -> None:
    with pytest.raises(ConfigurationError, match=r"pass version=4 \(or 1, 2, 3\)"):
        Taxonomy.for_model(model)


def test_the_version_can_be_told_where_the_id_does_not_say_it() -> None:
    assert Taxonomy.of(4) == Taxonomy.for_model("my-deployment", 4)


def test_a_told_version_has_precedence_over_the_id() -> None:
    assert Taxonomy.of(2) == Taxonomy.for_model("llama-guard-3-8b", 2)


@pytest.mark.parametrize("code", ["S15", "S99", "O1", "S0", "S01"])
def test_a_code_the_version_does_not_define_is_kept_as_an_unknown_hazard(code: str) -> None:
    category = Taxonomy.of(4).category(code)
    assert (code, False, f"{code} Unknown hazard") == (category.code, category.known, str(category))


def test_a_category_reads_as_its_code_and_name() -> None:
    category = Taxonomy.of(4).category("s9")
    assert ("S9 Indiscriminate Weapons", True) == (str(category), category.known)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("S9", True), ("O3", True), ("Hate", True), ("Guns and Illegal Weapons", True)]
    + [(text, False) for text in ("s9", "S", "S123", "S\u0663", "S9\n", "hate", "Hatred", "", "Unknown hazard")],
)
def test_a_hazard_is_a_code_or_an_exact_name(text: str, expected: bool) -> None:
    assert expected == is_hazard(text)


def test_the_small_models_do_not_define_the_last_hazard() -> None:
    small, large = Taxonomy.for_model("llama-guard3:1b"), Taxonomy.for_model("llama-guard3:8b")
    assert (False, True) == (small.defines("S14"), large.defines("S14"))
    assert (False, True) == (small.defines("Code Interpreter Abuse"), large.defines("Code Interpreter Abuse"))
