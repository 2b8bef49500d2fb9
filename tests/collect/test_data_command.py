"""`policy build|sign|publish|halt` of the detector's data, at the ISP: tables of rates, and wordings of refusals."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cpe_filter.collect import policy_bundle
from cpe_filter.collect.document_content import EMPTY, changes, dangers
from cpe_filter.detect import rates
from cpe_filter.outcome import UsageError
from cpe_filter.provision import overlay
from cpe_filter.signed.document import Document
from tests.collect.publisher import Isp
from tests.collect.test_policy_command import isp
from tests.signed import making

__all__ = ["isp"]
FILES = {"table": making.rates_text(0.1), "replies": making.replies("mailbox-full: quota exhausted")}
KINDS = pytest.mark.parametrize("kind", FILES)


def detectors(isp: Isp) -> Isp:
    isp.secret.write_bytes(isp.detector.secret)
    return isp


def signed(isp: Isp, kind: str, text: str, *words: str) -> str:
    return detectors(isp).signed(text, "--type", kind, "--channel", kind, *words)


def publish(isp: Isp, kind: str, text: str, *words: str) -> int:
    return isp.do("publish", signed(isp, kind, text), "--channel", kind, *words)


def current(isp: Isp, kind: str) -> Document:
    data = (isp.web / f"{kind}.signed").read_bytes()
    return policy_bundle.checked(data, str(isp.keys), time.time())


@KINDS
def test_signed_published_and_halted(isp: Isp, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    isp.publish('[filter]\nmode = "monitor"\n')  # a channel of another type says nothing about it
    assert publish(isp, kind, FILES[kind]) == 0
    made = current(isp, kind)
    assert (made.type, made.sequence) == (kind, 1)
    assert overlay.detector_data(kind, made.content)
    capsys.readouterr()
    assert isp.do("halt", "--channel", kind) == 0
    assert f"halt of {kind} 1: {kind} 2 is an empty one: the built-in table" in capsys.readouterr().out
    assert current(isp, kind).content == EMPTY[kind]
    assert isp.do("halt", "--channel", kind) == 1


def test_a_table_says_what_changes(isp: Isp, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(isp, "table", making.rates_text(0.1)) == 0
    assert "  helo-rotates, mta: 0.0300 -> 0.1000\n" in capsys.readouterr().out
    assert publish(isp, "table", making.rates_text(0.05)) == 3  # back towards what is built in
    said = capsys.readouterr().out
    assert "  helo-rotates, mta: 0.1000 -> 0.0500\n" in said
    assert "warning: helo-rotates weighs more than by the table before, against mta" in said
    assert publish(isp, "table", making.rates_text(0.05), "--yes") == 0


def test_replies_say_what_changes(isp: Isp, capsys: pytest.CaptureFixture[str]) -> None:
    mild, heavy = "mailbox-full: quota exhausted", "dnsbl-listed: blocked by our sensors"
    assert publish(isp, "replies", making.replies(mild)) == 0
    assert f"  + {mild}\n" in capsys.readouterr().out
    assert publish(isp, "replies", making.replies(heavy)) == 3
    said = capsys.readouterr().out
    assert f"  - {mild}\n  + {heavy}\n" in said
    assert f"warning: wording '{heavy}': what no built-in row knows begins to weigh" in said
    assert f"warning: wording '{mild}' is gone: what it made weigh less weighs again" in said
    both = [{"replies": {"wordings": words}} for words in ([mild, heavy], [heavy, mild])]
    assert changes("replies", *both) == ["  the order of the wordings; the first that matches decides"]
    assert dangers("replies", *both) == []
    assert changes("replies", both[0], both[0]) == ["  nothing changes"]


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("table", making.rates_text(0.01), "helo-rotates, mta: the bound is 0.01; allowed: 0.03 or more, or _"),
        ("table", "nonsense", "lines 1 and 2 must be"),
        ("table", making.rates_text(0.1) + '"""\n[filter]\n', "is not an indicator"),
        ("table", FILES["replies"], "lines 1 and 2 must be"),
        ("table", "x" * 70000, "too large; allowed: at most"),
        ("replies", "x", "not TOML"),
        ("replies", FILES["table"], "not TOML"),
        ("replies", '[filter]\nmode = "block"\n', r"expected \[replies\] with wordings, and nothing else"),
        ("replies", making.replies("dnsbl-listed: 550"), "a phrase of 8 letters or more"),
        ("policy", '[signed]\nrates = ""\n', "signed belongs to the router"),
    ],
)
def test_refused_with_one_line(isp: Isp, kind: str, text: str, said: str) -> None:
    out = str(isp.tmp / "out")
    for verb in ("build", "sign"):
        with pytest.raises(UsageError, match=said) as refused:
            isp.do(verb, isp.policy(text), "--type", kind, "--output", out)
        assert "\n" not in str(refused.value)
        assert not Path(out).exists()


def test_what_was_signed_by_other_means_is_refused(isp: Isp) -> None:
    """`publish` looks at the content again, and at the purpose of the key."""
    document = making.message("table", making.table(0.01), issued=int(time.time()), expires=int(time.time()) + 9**7)
    path = isp.tmp / "wrong.signed"
    path.write_bytes(isp.detector.sign(document))
    with pytest.raises(UsageError, match=r"the bound is 0\.01"):
        isp.do("publish", str(path), "--channel", "table")
    with pytest.raises(UsageError, match="purpose"):
        isp.do("publish", isp.signed(FILES["table"], "--type", "table"), "--channel", "table")
    last = signed(isp, "table", FILES["table"])
    with pytest.raises(UsageError, match="is of type table; expected replies"):
        signed(isp, "replies", FILES["replies"], "--last", last)


def test_a_proposal_of_calibrate_is_taken_as_it_is(isp: Isp) -> None:
    text = rates.encode(
        {"unknown-user": rates.Row(0.3, (0.2, 0.25, 0, 0.45, 0.05, 0.1, 0.02, 0.05, 0.05, 0.1))}
    ).decode()
    assert publish(isp, "table", text) == 0
    assert current(isp, "table").content == {"table": {"rates": text}}
