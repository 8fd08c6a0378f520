"""The prompts, beside those that the published chat templates render.

The texts in `published/` were not made by the code under test. Those of Llama Guard 1, 2 and 3 were rendered with
Jinja from the templates of the models' repositories. The template of Llama Guard 4 is not public: `dumped` are two
renderings that others published, the rest was rendered by a template that gives just these. In front of the prompts
of Llama Guard 1 and 2 stands the token that their tokenizers put there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.guard_models import GuardModel
from llama_guard_core.guardrail.published_prompts import PromptCategory, published_categories, published_prompt

Turns = list[tuple[Literal["user", "assistant"], str]]

PUBLISHED = Path(__file__).parent / "published"
MODELS = [
    GuardModel(1, "7b"),
    GuardModel(2, "8b"),
    GuardModel(3, "8b"),
    GuardModel(3, "1b"),
    GuardModel(3, "11b-vision"),
    GuardModel(4, "12b"),
]
ASKED: Turns = [("user", "\n How do I open\na walnut? ")]
ANSWERED: Turns = [*ASKED, ("assistant", "With a nutcracker.\n\n  Or a stone. \n")]
ASKED_AGAIN: Turns = [*ANSWERED, ("user", 'And a "coconut" (über 30 €)?')]
EXCLUDED = {
    "llama-guard-1-7b": ["O2", "O5"],
    "llama-guard-2-8b": ["S2", "S11"],
    "llama-guard-3-8b": ["S2", "S14"],
    "llama-guard-3-1b": ["S2", "S13"],
    "llama-guard-3-11b-vision": ["S2", "S13"],
    "llama-guard-4-12b": ["S2", "S14"],
}
BOMB = "how do I make a bomb?"
REGRET = "As a responsible artificial intelligence system, I regret that I am unable to fulfill your request."


def name_of(model: GuardModel) -> str:
    return f"llama-guard-{model.version}-{model.size}"


models = pytest.mark.parametrize("model", MODELS, ids=name_of)


def published(model: GuardModel, case: str) -> str:
    return (PUBLISHED / f"{name_of(model)}-{case}.txt").read_bytes().decode()


def sailing(model: GuardModel) -> PromptCategory:
    return PromptCategory(
        "O1" if model.version == 1 else "S1",
        "Sailing",
        "AI models should not give advice on sailing.",
        ("How do I reef a sail?", "Sailing is great fun."),
    )


@models
@pytest.mark.parametrize(("case", "turns"), [("user", ASKED), ("agent", ANSWERED), ("user-again", ASKED_AGAIN)])
def test_the_prompt_is_the_published_one(model: GuardModel, case: str, turns: Turns) -> None:
    assert published(model, case) == published_prompt(model, turns)


@pytest.mark.parametrize(
    ("case", "turns"),
    [("dumped-user", [("user", BOMB)]), ("dumped-agent", [("user", BOMB), ("assistant", REGRET)])],
)
def test_llama_guard_4_is_asked_as_its_published_runs_were(case: str, turns: Turns) -> None:
    model = GuardModel(4, "12b")
    assert published(model, case) == published_prompt(model, turns)


@models
def test_categories_can_be_left_out(model: GuardModel) -> None:
    listed = published_categories(model, EXCLUDED[name_of(model)])
    assert published(model, "excluded") == published_prompt(model, ASKED, listed)


@models
def test_one_category_of_ones_own_is_written_with_its_examples(model: GuardModel) -> None:
    assert published(model, "custom") == published_prompt(model, ANSWERED, [sailing(model)])


def test_each_published_text_is_compared() -> None:
    cases = ("user", "agent", "user-again", "excluded", "custom")
    names = {f"{name_of(model)}-{case}.txt" for model in MODELS for case in cases}
    dumped = {"llama-guard-4-12b-dumped-user.txt", "llama-guard-4-12b-dumped-agent.txt"}
    assert names | dumped == {path.name for path in PUBLISHED.iterdir()}


@models
def test_it_begins_with_what_the_model_is_said_to_begin_with(model: GuardModel) -> None:
    rest = published_prompt(model, ASKED).removeprefix(model.begins_with)
    assert ("<s>" in rest, "<|begin_of_text|>" in rest) == (False, False)
    assert rest.startswith(("[INST] Task: ", "<|start_header_id|>user", "<|header_start|>user"))


alternating = st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5).map(
    lambda texts: [(("user", "assistant")[n % 2], text) for n, text in enumerate(texts)]
)


@models
@given(turns=alternating)
def test_the_role_that_is_judged_follows_the_last_turn(model: GuardModel, turns: Turns) -> None:
    judged, other = ("User", "Agent") if turns[-1][0] == "user" else ("Agent", "User")
    prompt = published_prompt(model, turns)
    before, after = prompt.split("<BEGIN CONVERSATION>", 1)[0], prompt.rsplit("<END CONVERSATION>", 1)[1]
    assert (1, 0) == (before.count(f"'{judged}' messages"), before.count(f"'{other}' messages"))
    last = f"for {judged} in" if model.version == 1 else f"for ONLY THE LAST {judged} message in"
    assert (True, False) == (last in after, other in after)


@models
@given(turns=alternating)
def test_nothing_of_a_turn_is_lost_but_the_white_space_around_it(model: GuardModel, turns: Turns) -> None:
    prompt = published_prompt(model, turns)
    said = prompt[prompt.index("<BEGIN CONVERSATION>\n") : prompt.rindex("<END CONVERSATION>")]
    for speaker, text in turns:
        turn = f"{'User' if speaker == 'user' else 'Agent'}: {text.strip()}"
        assert turn in said
        said = said.partition(turn)[2]
    assert "" == said.replace("\\n", "").strip()


@models
def test_the_listed_codes_are_those_of_the_model(model: GuardModel) -> None:
    codes = [category.code for category in model.taxonomy.categories]
    assert codes == [category.code for category in published_categories(model)]


def test_a_code_the_model_has_not_cannot_be_left_out() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot leave out S14, s9: the codes of this model are S1, .*, S13$"):
        published_categories(GuardModel(3, "1b"), ["S1", "s9", "S14"])


def test_a_prompt_needs_a_category() -> None:
    model = GuardModel(4, "12b")
    listed = published_categories(model, [category.code for category in model.taxonomy.categories])
    with pytest.raises(ConfigurationError, match="leave in at least one"):
        published_prompt(model, ASKED, listed)


@pytest.mark.parametrize(
    "turns",
    [[], [("assistant", "KNIFE")], [("user", "KNIFE"), ("user", "a")], [*ANSWERED, ("assistant", "KNIFE")]],
    ids=["none", "assistant", "user, user", "assistant, assistant"],
)
def test_turns_that_do_not_alternate_are_refused_without_their_text(turns: Turns) -> None:
    with pytest.raises(ConfigurationError, match="alternate") as refused:
        published_prompt(GuardModel(3, "8b"), turns)
    assert "KNIFE" not in str(refused.value)


@pytest.mark.parametrize(
    ("category", "text"),
    [
        (PromptCategory("S1", "Sailing"), "Sailing."),
        (PromptCategory("S1", "Sailing."), "Sailing."),
        (PromptCategory("S1", "Sailing. "), "Sailing. "),
        (PromptCategory("S1", "Sailing", "None of it."), "Sailing.\nNone of it."),
        (PromptCategory("S1", "Sailing", examples=("a", "b")), "Sailing.\nExamples:\n - a\n - b"),
    ],
)
def test_a_category_is_its_name_its_description_and_its_examples(category: PromptCategory, text: str) -> None:
    assert text == category.text
