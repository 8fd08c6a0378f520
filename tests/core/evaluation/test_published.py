"""Meta's own figures stand beside ours with their conditions, and judge nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from llama_guard_core.evaluation.published import PUBLISHED

REFERENCE = Path(__file__).parents[4] / "shared" / "reference" / "llama-guard.md"


def of(model: str, what: str) -> tuple[float, float, float]:
    (found,) = [each for each in PUBLISHED if each.model == model and each.what == what]
    return found.recall, found.false_positive_rate, found.f1


def test_the_figures_are_those_of_the_model_cards():
    assert of("Llama Guard 4 12B", "English") == (0.69, 0.11, 0.61)
    assert of("Llama Guard 4 12B", "Multilingual") == (0.43, 0.03, 0.51)
    assert of("Llama Guard 3 8B", "English, replies") == (0.931, 0.040, 0.939)
    assert of("Llama Guard 3 8B", "English, prompts") == (0.943, 0.057, 0.947)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the study of the model cards is not beside the project")
def test_the_figures_of_llama_guard_4_and_what_it_gained_are_those_of_the_study():
    table = re.findall(
        r"^\| (English|Multilingual|Single image|Multi image).*?\| (\d+) % \| (\d+) % \| (\d+) % \| ([+-]?\d+) \| ([+-]?\d+) \| ([+-]?\d+) \|",
        REFERENCE.read_text(encoding="utf-8"),
        re.MULTILINE,
    )

    assert len(table) == 4
    for what, *numbers in table:
        percents, gains = [int(each) for each in numbers[:3]], [int(each) for each in numbers[3:]]
        assert [round(100 * each) for each in of("Llama Guard 4 12B", what)] == percents
        if "image" not in what:
            before = [percent - gain for percent, gain in zip(percents, gains, strict=True)]
            assert [round(100 * each) for each in of("Llama Guard 3 8B", what)] == before


@pytest.mark.parametrize("figures", PUBLISHED, ids=lambda each: f"{each.model}, {each.what}")
def test_each_figure_says_its_conditions_and_its_source(figures):
    values = json.loads(json.dumps(figures.as_dict()))

    assert "Meta's" in values["conditions"]
    assert values["source"].startswith("https://github.com/meta-llama/PurpleLlama/blob/main/Llama-Guard")
    assert {"model", "what", "recall", "false_positive_rate", "f1", "conditions", "source"} <= set(values)
    assert all(0 < values[name] < 1 for name in ("recall", "false_positive_rate", "f1"))


@pytest.mark.parametrize(
    "figures", [each for each in PUBLISHED if each.precision is not None], ids=lambda each: each.what
)
def test_f1_is_that_of_the_published_precision_and_recall(figures):
    f1 = 2 * figures.precision * figures.recall / (figures.precision + figures.recall)

    assert figures.f1 == pytest.approx(f1, abs=0.001)
