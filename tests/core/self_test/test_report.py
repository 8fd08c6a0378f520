"""What is true of a self-test's report, whatever was tested."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_guard_core.self_test.report import Finding, SelfTest, Status

statuses: st.SearchStrategy[Status] = st.sampled_from(["ok", "wrong", "unknown", "not offered"])
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
all_findings = st.lists(
    st.builds(Finding, st.text("abc ", min_size=1, max_size=20), statuses, words, words), max_size=5
)
reports = st.builds(SelfTest, words, words, words, all_findings.map(tuple))


def report_of(*statuses: Status, others: tuple[SelfTest, ...] = ()) -> SelfTest:
    found = tuple(Finding(f"probe {number}", status, "seen") for number, status in enumerate(statuses))
    return SelfTest("host", "model", "prompt", found, others)


@pytest.mark.parametrize(
    ("report", "is_ok"),
    [
        (report_of("ok", "ok"), True),
        (report_of("ok", "unknown", "not offered"), True),
        (report_of("ok", "wrong"), False),
        (report_of("unknown", "not offered"), False),
        (report_of(), False),
        (report_of("ok", others=(report_of("ok"), report_of("ok"))), True),
        (report_of("ok", others=(report_of("ok"), report_of("ok", "wrong"))), False),
        (report_of("ok", others=(report_of("unknown"),)), False),
    ],
)
def test_all_is_ok_where_each_host_can_something_and_nothing_is_wrong(report: SelfTest, is_ok: bool) -> None:
    assert is_ok is report.ok
    assert is_ok is report.as_dict()["ok"]


def test_a_report_is_not_taken_for_its_result() -> None:
    with pytest.raises(TypeError, match="ok"):
        bool(report_of("ok"))


@given(reports, reports)
def test_no_line_is_wider_than_a_terminal_and_no_character_acts_on_one(report: SelfTest, other: SelfTest) -> None:
    whole = SelfTest(report.host, report.model, report.prompt, report.findings, (other,))
    for line in str(whole).split("\n"):
        assert len(line) <= 100
        assert line.isprintable()
    assert "\x1b" not in repr(whole)
    assert whole.as_dict() == json.loads(json.dumps(whole.as_dict()))


def test_a_table_is_aligned_and_says_a_remedy_once() -> None:
    long = "a " * 60
    report = SelfTest(
        "Box",
        "guard-4",
        "its own",
        (
            Finding("prompt", "ok", "safe"),
            Finding("long reply", "wrong", f"unsafe {long}", "Mend it."),
            Finding("reply", "wrong", "unsafe", "Mend it."),
            Finding("picture", "not offered", ""),
        ),
    )
    assert str(report).split("\n") == [
        "Box: guard-4",
        "prompt: its own",
        "",
        "  prompt      ok           safe",
        "  long reply  wrong        unsafe " + ("a " * 33).rstrip(),
        "                           " + ("a " * 27).rstrip(),
        "  reply       wrong        unsafe",
        "  picture     not offered",
        "",
        "What to do",
        "  long reply, reply: Mend it.",
    ]
