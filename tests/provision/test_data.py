"""Documents with the detector's data, a table of rates or wordings of refusals: applied as policies are."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpe_filter.collect.document_content import EMPTY
from cpe_filter.detect import rates
from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.outcome import UsageError
from cpe_filter.policy import file as policy_file
from cpe_filter.policy.model import SignedTable
from cpe_filter.provision import command, laid
from cpe_filter.provision.folder import Folder
from cpe_filter.uci.tables import toml
from tests.provision.test_command import Router, router
from tests.signed import making

__all__ = ["router"]
KINDS = ("table", "replies")
CONTENTS = {"table": making.table(0.1), "replies": making.replies("mailbox-full: quota exhausted")}


def signed(router: Router) -> SignedTable:
    return policy_file.load(router.place.out).signed


def folder(router: Router, kind: str) -> Folder:
    return Folder(str(Path(router.place.folder, kind)))


def test_all_types_at_once(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    assert router.apply(router.document(sequence=9)) == 0
    for kind, sequence in (("table", 3), ("replies", 4)):  # each type has numbers of its own
        assert router.apply(router.document(CONTENTS[kind], type=kind, sequence=sequence)) == 0
    found = signed(router)
    assert [name.split()[0] for name in found[:3]] == ["9", "3", "4"]
    assert (found.rates, found.wordings) == (making.rates_text(0.1), "fquotaexhausted")
    assert router.mode == "monitor"
    router.boot = "b2"
    assert command.make(router.place) == 0
    assert signed(router) == found
    capsys.readouterr()
    assert command.status(router.place) == 0
    shown = capsys.readouterr().out
    for kind, sequence in (("policy", 9), ("table", 3), ("replies", 4)):
        assert f"in force:  {kind} {sequence}, " in shown


@pytest.mark.parametrize("kind", KINDS)
def test_taken_back_and_rolled_back(router: Router, kind: str) -> None:
    first, second = (router.document(CONTENTS[kind], type=kind, sequence=number) for number in (3, 4))
    assert router.apply(first) == 0
    before = Path(router.place.out).read_bytes()
    router.works = lambda: {"filter": True, "rules": getattr(signed(router), kind).startswith("3 ")}
    assert router.apply(second) == 4
    assert Path(router.place.out).read_bytes() == before
    router.works = lambda: {"filter": True, "rules": True}
    assert router.apply(router.document(CONTENTS[kind], type=kind, sequence=5)) == 0
    assert getattr(signed(router), kind).startswith("5 ")
    assert command.roll_back(router.place, router.reload, kind) == 0
    assert Path(router.place.out).read_bytes() == before
    assert folder(router, kind).good == first.read_bytes()


WRONG = {
    "table": [
        (making.table(0.01), "helo-rotates, mta: the bound is 0.01; allowed: 0.03 or more, or _"),
        (making.table(0.1).replace("helo-rotates", "no-such"), "'no-such' is not an indicator"),
        (making.table(0.1).replace("rates 1", "rates 2"), "lines 1 and 2 must be"),
        ("[table]\nrates = 3\n", "[table] rates is 3; expected a text"),
        (f'[table]\nrates = "{"x" * 40000}"\n', "more than 32768 bytes"),
        ("[table]\n", "expected [table] with rates, and nothing else"),
        (CONTENTS["table"] + "more = 1\n", "expected [table] with rates, and nothing else"),
        (CONTENTS["table"] + "[filter]\nmode = 'monitor'\n", "expected [table] with rates, and nothing else"),
        (CONTENTS["replies"], "expected [table] with rates, and nothing else"),
        ("", "expected [table] with rates, and nothing else"),
    ],
    "replies": [
        (making.replies("accepted: quota"), 'its class is "accepted"'),
        (making.replies("dnsbl-listed: 550"), "a phrase of 8 letters"),
        (making.replies(*["mailbox-full: quota"] * 257), "expected a list of at most 256 wordings"),
        ("[replies]\nwordings = 3\n", "[replies] wordings: expected a list"),
        ("[replies]\nwordings = [[]]\n", "number 1, is"),
        (CONTENTS["replies"] + "rates = ''\n", "expected [replies] with wordings, and nothing else"),
        (CONTENTS["table"], "expected [replies] with wordings, and nothing else"),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_refused_changes_nothing(router: Router, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert router.apply(router.document(CONTENTS[kind], type=kind, sequence=3)) == 0
    before = {path: path.read_bytes() for path in Path(router.place.folder, kind).rglob("*") if path.is_file()}
    capsys.readouterr()
    for number, (content, said) in enumerate(WRONG[kind]):
        assert router.apply(router.document(content, type=kind, sequence=10 + number)) == 2, content
        line = capsys.readouterr().err
        assert said in line
        assert line.endswith("(content); the policy stays as it was\n")
        assert line.count("\n") == 1
        assert len(line) < 600
    for key in ("isp", "desk"):
        assert router.apply(router.document(CONTENTS[kind], making.key(key), type=kind, sequence=90)) == 2
        assert "(purpose)" in capsys.readouterr().err
    assert router.apply(router.document(making.key("detector").number.hex(), making.key("detector"))) == 2  # a policy
    after = {path: path.read_bytes() for path in Path(router.place.folder, kind).rglob("*") if path.is_file()}
    assert after == before


def test_a_policy_cannot_have_what_the_key_of_the_detector_signs(
    router: Router, capsys: pytest.CaptureFixture[str]
) -> None:
    assert router.apply(router.document('[signed]\nrates = ""\n')) == 2
    assert "signed belongs to the router" in capsys.readouterr().err
    Path(router.place.base).write_text(Path(router.place.base).read_text() + '[signed]\nrates = ""\n')
    with pytest.raises(UsageError, match=r"\[signed\] is for documents of the ISP"):
        command.make(router.place)


def test_another_version_allows_less(
    router: Router, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After an update the built-in bounds may be wider than those of the table in force: it does not count then."""
    assert router.apply(router.document(CONTENTS["table"], type="table")) == 0
    own = INDICATORS["helo-rotates"]
    monkeypatch.setitem(INDICATORS, "helo-rotates", own._replace(usual=(0.2, *own.usual[1:])))
    router.boot = "b2"
    assert command.make(router.place) == 4
    assert signed(router) == SignedTable()
    assert "table is left out: helo-rotates, mta: the bound is 0.1; allowed: 0.2 or more" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_changed_and_an_old_number(router: Router, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert router.apply(router.document(CONTENTS[kind], type=kind, sequence=5)) == 0
    before = Path(router.place.out).read_bytes()
    data = router.document(CONTENTS[kind], type=kind, sequence=6).read_bytes()
    tampered = router.tmp / "tampered"
    for at in range(data.index(b"\n") + 1, len(data), 5):  # the comment is not signed; tests/signed has each byte
        tampered.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert router.apply(tampered) == 2, at
    for sequence in (5, 4):
        old = router.document(CONTENTS[kind] + "# another one\n", type=kind, sequence=sequence)
        assert router.apply(old) == 2
        assert capsys.readouterr().err.endswith("(sequence); the policy stays as it was\n")
    assert router.apply(router.document(CONTENTS[kind], type=kind, sequence=9, rollout_permille=0, salt="a")) == 5
    assert Path(router.place.out).read_bytes() == before


def test_a_halt_goes_back_to_what_is_built_in(router: Router) -> None:
    """An empty document is one, too: it has a later number, and changes nothing of the detector."""
    for kind in KINDS:
        assert router.apply(router.document(CONTENTS[kind], type=kind, sequence=3)) == 0
        empty = toml(EMPTY[kind])
        assert router.apply(router.document(empty, type=kind, sequence=4)) == 0
    found = signed(router)
    assert (found.table[:2], found.replies[:2], found.wordings) == ("4 ", "4 ", "")
    assert rates.allowed(found.rates.encode()) == {}


def test_a_service_that_prepares_its_policy_has_them(router: Router) -> None:
    """`uci prepare` writes the policy from what `laid` gives: nothing is lost of a text of many lines."""
    for kind in KINDS:
        assert router.apply(router.document(CONTENTS[kind], type=kind, sequence=3)) == 0
    found = laid.over(router.place.base, router.place.folder)
    assert found.problems == []
    Path(router.place.out).write_bytes(found.text)
    assert signed(router) == found.policy.signed
    assert (found.policy.signed.rates, found.policy.signed.wordings) == (making.rates_text(0.1), "fquotaexhausted")
