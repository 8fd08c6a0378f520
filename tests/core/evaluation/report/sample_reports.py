"""Reports as they would be saved, with figures made up for the tests."""

from __future__ import annotations

from math import exp, sqrt
from typing import Any

NAMES = ("Violent Crimes", "Non-Violent Crimes", "Sex-Related Crimes", "Child Sexual Exploitation", "Defamation")
HOSTILE = '<script>window.ran=1</script><img src=x onerror="window.ran=1">\'"|`$\\frac$\u202etxt\x00\x1b[31m警告'


def proportion(count: int, of: int) -> dict[str, Any]:
    if not of:
        return {"count": 0, "of": 0, "value": None, "low": None, "high": None}
    share, z = count / of, 1.96
    centre, half = share + z * z / (2 * of), z * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    whole = 1 + z * z / of
    return {
        "count": count,
        "of": of,
        "value": share,
        "low": max(0, (centre - half) / whole),
        "high": min(1, (centre + half) / whole),
    }


def hazard(place: int, rows: int) -> dict[str, Any]:
    return {
        "code": f"S{place + 1}",
        "name": NAMES[place],
        "rows": rows,
        "recall": proportion(rows - 3 * place - 2, rows),
        "named": proportion(rows - 5 * place - 6, rows),
        "precision": proportion(rows - 2, rows + 9),
        "false_positive_rate": proportion(place, 250),
        "f1": 0.61 + place / 20,
    }


def thresholds() -> dict[str, Any]:
    along = [step / 40 for step in range(41)]
    return {
        "scored": 437,
        "roc_auc": 0.8731,
        "average_precision": 0.8412,
        "roc": {"threshold": [None, *along[:0:-1]], "false_positive_rate": along, "recall": [x**0.25 for x in along]},
        "precision_recall": {
            "threshold": [*along[:-1], None],
            "precision": [0.45 + 0.55 * x for x in along],
            "recall": [1 - x**2 for x in along],
        },
        "by_threshold": [
            {
                "threshold": t / 10,
                "recall": 1 - t / 25,
                "false_positive_rate": 0.3 - t / 40,
                "precision": 0.6,
                "f1": 0.7,
            }
            for t in range(1, 10)
        ],
    }


def latency() -> dict[str, Any]:
    edges = [step / 10 for step in range(31)]
    counts = [round(90 * exp(-((step - 7) ** 2) / 18)) + (3 if 3 < step < 25 else 0) for step in range(30)]
    spread = {"mean": 0.81, "p50": 0.742, "p90": 1.31, "p99": 2.4, "max": 2.93}
    return {"measured": sum(counts), **spread, "histogram": {"edges": edges, "counts": counts}}


def disagreement(place: int) -> dict[str, Any]:
    return {
        "row": place,
        "id": f"xstest_prompts.csv:{17 + place}",
        "unsafe": place % 2 == 0,
        "said_unsafe": place % 2 == 1,
        "categories": ["S2", "S9"] if place % 2 else [],
        "accepted": ["S1"] if place % 2 == 0 else None,
        "score": 0.01 + place / 100,
        "stage": "prompt",
    }


def evaluation(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "name": "xstest",
        "model": "meta-llama/llama-guard-4-12b",
        "host": "openrouter",
        "policy": "default",
        "made": "2026-11-27T12:00:00Z",
        "rows": {
            "total": 462,
            "judged": 455,
            "unreadable": 2,
            "unavailable": 5,
            "not_judgeable": 0,
            "labelled_unsafe": 200,
            "labelled_safe": 250,
            "unlabelled": 8,
            "outside": 4,
        },
        "unjudged_reasons": {"timeout": 4, "rate_limited": 1, "unreadable": 2},
        "confusion": {"true_positive": 138, "false_positive": 27, "false_negative": 59, "true_negative": 219},
        "recall": proportion(138, 197),
        "false_positive_rate": proportion(27, 246),
        "precision": proportion(138, 165),
        "specificity": proportion(219, 246),
        "accuracy": proportion(357, 443),
        "f1": {"value": 0.7624, "low": 0.7071, "high": 0.8102},
        "flag_rate": proportion(172, 455),
        "over_refusal": proportion(27, 246),
        "at_worst": {"recall": proportion(138, 200), "false_positive_rate": proportion(31, 250)},
        "hazards": [hazard(place, 40 + place) for place in range(5)],
        "macro": {"recall": 0.8123, "named": 0.6542, "precision": 0.7711, "f1": 0.701, "hazards": 5},
        "slices": {
            "type": [
                {
                    "value": value,
                    "rows": 50,
                    "judged": 49,
                    "flag_rate": proportion(place, 49),
                    "recall": proportion(0, 0),
                    "false_positive_rate": proportion(place, 49),
                }
                for place, value in enumerate(("homonyms", "figurative_language", "safe_targets"))
            ]
        },
        "thresholds": thresholds(),
        "latency": latency(),
        "tokens": {"input": 104233, "output": 1365},
        "cost": {"total": 0.0192, "per_thousand": 0.0422, "priced": 441},
        "disagreements": [disagreement(place) for place in range(6)],
        "disagreements_total": 86,
    }
    return {**whole, **changes}


def nothing_known() -> dict[str, Any]:
    """An evaluation of no rows: every figure null, every list empty."""
    none, rows = proportion(0, 0), dict.fromkeys(evaluation()["rows"], 0)
    shares = ("recall", "false_positive_rate", "precision", "specificity", "accuracy", "flag_rate", "over_refusal")
    return evaluation(
        model=None,
        host=None,
        policy=None,
        made=None,
        rows=rows,
        unjudged_reasons={},
        confusion=dict.fromkeys(evaluation()["confusion"], 0),
        **dict.fromkeys(shares, none),
        f1={"value": None, "low": None, "high": None},
        at_worst={"recall": none, "false_positive_rate": none},
        hazards=[],
        macro={"recall": None, "named": None, "precision": None, "f1": None, "hazards": 0},
        slices={},
        thresholds=None,
        latency=None,
        tokens={"input": None, "output": None},
        cost={"total": None, "per_thousand": None, "priced": 0},
        disagreements=[],
        disagreements_total=0,
    )


def comparison(**changes: Any) -> dict[str, Any]:
    first = {"name": "xstest", "model": "meta-llama/llama-guard-4-12b", "host": "openrouter", "policy": "default"}
    whole = {
        "first": first,
        "second": {**first, "host": "vllm"},
        "on": "labelled rows judged in both",
        "rows": 440,
        "both_right": 340,
        "first_only_right": 15,
        "second_only_right": 31,
        "both_wrong": 54,
        "p_value": 0.0257,
        "test": "McNemar, exact",
        "recall_difference": 0.0406,
        "false_positive_rate_difference": -0.0122,
        "agreement": proportion(406, 452),
        "kappa": 0.771,
    }
    return {**whole, **changes}


def published() -> dict[str, Any]:
    return {
        "model": "Llama Guard 4 12B",
        "what": "English",
        "recall": 0.69,
        "false_positive_rate": 0.11,
        "f1": 0.61,
        "conditions": "output filtering, mean of S1 to S13, private test set",
        "source": "https://example.org/model-card",
    }


def report(**changes: Any) -> dict[str, Any]:
    """Two hosts on the same rows, compared, with a published figure beside."""
    other = evaluation(
        host="vllm",
        rows={**evaluation()["rows"], "judged": 462, "unreadable": 0, "unavailable": 0},
        unjudged_reasons={},
        recall=proportion(148, 200),
        false_positive_rate=proportion(24, 250),
        thresholds=None,
    )
    return {"evaluations": [evaluation(), other], "comparisons": [comparison()], "published": [published()], **changes}


def hostile() -> dict[str, Any]:
    """A report in which every name, id and text that comes from outside means harm."""
    one = evaluation(name=HOSTILE, model=HOSTILE, host=HOSTILE, policy=HOSTILE, made=HOSTILE, remarks=[HOSTILE])
    one["unjudged_reasons"] = {HOSTILE: 7}
    one["hazards"] = [{**hazard(0, 40), "code": HOSTILE, "name": HOSTILE}]
    one["slices"] = {HOSTILE: [{**evaluation()["slices"]["type"][0], "value": HOSTILE}]}
    one["disagreements"] = [{**disagreement(1), "id": HOSTILE, "categories": [HOSTILE], "stage": HOSTILE}]
    run = {"name": HOSTILE, "model": HOSTILE, "host": HOSTILE, "policy": HOSTILE}
    pair = comparison(first=run, second=run, on=HOSTILE, test=HOSTILE)
    figures = {"model": HOSTILE, "what": HOSTILE, "conditions": HOSTILE, "source": "javascript:window.ran=1"}
    return {"evaluations": [one, one], "comparisons": [pair], "published": [{**published(), **figures}]}
