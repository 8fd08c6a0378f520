"""OpenRouter's own options."""

from __future__ import annotations

import ast
import inspect

import pytest
from pydantic import ValidationError

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.provider import routing
from llama_guard_core.provider.routing import (
    Attribution,
    MaxPrice,
    Percentiles,
    ProviderRouting,
    SortOrder,
    with_variant,
)


def test_only_what_was_set_is_sent():
    routing = ProviderRouting(
        order=("deepinfra/turbo", "together"),
        allow_fallbacks=False,
        zdr=True,
        max_price=MaxPrice(prompt=0.5, completion="1"),
        sort=SortOrder(by="price"),
        preferred_min_throughput=Percentiles(p90=50),
    )
    assert {
        "order": ["deepinfra/turbo", "together"], "allow_fallbacks": False, "zdr": True, "max_price": {"prompt": 0.5, "completion": "1"},
        "sort": {"by": "price"}, "preferred_min_throughput": {"p90": 50.0},
    } == routing.as_request()  # fmt: skip


def test_a_mapping_is_read_as_well():
    assert {"only": ["groq"], "sort": "exacto"} == ProviderRouting.model_validate(
        {"only": ["groq"], "sort": "exacto"}
    ).as_request()


@pytest.mark.parametrize(
    "wrong",
    [
        {"ordr": ["a"]},
        {"sort": "speed"},
        {"quantizations": ["fp7"]},
        {"data_collection": "maybe"},
        {"max_price": {"promt": 1}},
        {"order": "deepinfra"},
    ],
)
def test_a_misspelt_option_is_refused_here_and_not_by_the_host(wrong):
    with pytest.raises(ValidationError):
        ProviderRouting.model_validate(wrong)


def test_every_option_says_what_it_does() -> None:
    """A text stands under each field of each class."""
    classes = [node for node in ast.parse(inspect.getsource(routing)).body if isinstance(node, ast.ClassDef)]
    undescribed = [
        f"{each.name}.{ast.unparse(field.target)}"
        for each in classes
        for field, below in zip(each.body, [*each.body[1:], None], strict=True)
        if isinstance(field, ast.AnnAssign)
        and not (isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant))
    ]
    assert [] == undescribed


def test_attribution_becomes_headers():
    attribution = Attribution(url="https://app.example", title="App", categories=("cli-agent", "chat"))
    assert {
        "HTTP-Referer": "https://app.example",
        "X-OpenRouter-Title": "App",
        "X-OpenRouter-Categories": "cli-agent,chat",
    } == attribution.headers()
    assert {} == Attribution().headers()


@pytest.mark.parametrize("categories", [("a", "b", "c"), ("Upper",), ("with space",), ("a" * 31,), ("-a",)])
def test_categories_the_host_would_drop_are_refused(categories):
    with pytest.raises(ValidationError):
        Attribution(categories=categories)


@pytest.mark.parametrize(
    ("model", "variant", "expected"),
    [
        ("a/b", None, "a/b"),
        ("a/b", "nitro", "a/b:nitro"),
        ("a/b:free", "free", "a/b:free"),
        ("a/b:free", None, "a/b:free"),
    ],
)
def test_a_variant_is_a_suffix_and_balanced_is_none(model, variant, expected):
    assert expected == with_variant(model, variant)


def test_two_suffixes_are_refused():
    with pytest.raises(ConfigurationError, match="suffix"):
        with_variant("a/b:free", "nitro")
