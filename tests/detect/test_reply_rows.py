"""The table of refusals: each text is read as its class, however servers write it, and work is bounded."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.detect import replies
from cpe_filter.detect.replies import KINDS, read, searched
from cpe_filter.detect.reply_rows import ROWS
from cpe_filter.inspect.facts import Reply
from cpe_filter.policy.reply_patterns import CLASSES
from tests.detect.reply_table import MODULE, Row, module, reply, rows

TABLE = rows()
IDS = [f"{number}-{one.kind}" for number, one in enumerate(TABLE)]
every_row = pytest.mark.parametrize("row", TABLE, ids=IDS)


def test_what_is_made_of_the_table_is_of_today() -> None:
    assert MODULE.read_text() == module(), "run `make docs`"


def test_both_rooms_know_the_same_classes() -> None:
    assert {name: letter for letter, (name, _, _) in KINDS.items() if letter != "?"} == CLASSES


def test_a_row_is_found_as_if_all_were_compared() -> None:
    """The index leaves nothing out."""
    for one in TABLE:
        words, letters = searched(reply(one.text))
        assert replies._search(words, letters) == replies._match(ROWS, words, letters)


def test_the_table_is_whole() -> None:
    assert {one.kind for one in TABLE} == set(CLASSES)
    patterns = [one.says for one in TABLE if one.says]
    assert len(set(patterns)) == len(patterns)
    for one in TABLE:
        assert all((one.provider, one.source, one.text)), one
        assert all(400 <= int(part) < 600 for part in re.findall(r"^\d{3}", one.text)), one


@every_row
def test_a_row_reads_its_text(row: Row) -> None:
    assert read(reply(row.text))[0] == row.kind


@every_row
def test_case_does_not_matter(row: Row) -> None:
    one = reply(row.text)
    for change in (str.upper, str.lower):
        assert read(one._replace(text=change(one.text), before=tuple(map(change, one.before))))[0] == row.kind


@every_row
def test_other_hosts_and_addresses_do_not_matter(row: Row) -> None:
    one = row.text.replace("192.0.2.10", "203.0.113.77").replace("host.example.org[", "dialup-77.pbl.example.net[")
    one = one.replace("<x@example.org>", "<pbl.infected.spamhaus@dynamic.example.com>")
    assert read(reply(one))[0] == row.kind


@every_row
def test_lines_may_break_within_words(row: Row) -> None:
    """Each line with the enhanced status code, if there is one."""
    one = reply(row.text)
    if "://" in row.text or "[" in row.text or "<" in row.text or "@" in row.text:
        return  # links and hosts stay whole
    status = re.match(r"\d{3} (5\.\d\.\d+ )?", one.text)
    assert status
    code, said = status[1] or "", one.text[status.end() :]
    for width in (37, 60):
        lines = [said[at : at + width] for at in range(0, len(said), width)] or [""]
        broken = Reply(one.code, f"{one.code} {code}{lines[-1]}", (*one.before, *(code + line for line in lines[:-1])))
        assert read(broken)[0] == row.kind, broken


@every_row
def test_two_hundred_bytes_are_enough(row: Row) -> None:
    """Many servers cut their lines, and so does this filter."""
    one = reply(row.text)
    assert read(one._replace(text=one.text[:200], before=tuple(line[:200] for line in one.before)))[0] == row.kind


@every_row
def test_spaces_do_not_matter(row: Row) -> None:
    one = reply(row.text)
    assert read(one._replace(text=one.text.replace(" ", "   ") + " \t "))[0] == row.kind


def test_an_unknown_wording_weighs_little() -> None:
    for text in ("550 zz qq", "554 5.7.1 zz qq", "550", "599 "):
        assert read(Reply(int(text[:3]), text)) == ("unread", "refused", replies.LITTLE)
    assert read(Reply(450, "450 zz qq"))[1] == "deferred"


def test_what_every_home_hears_proves_nothing() -> None:
    for text in (
        "554 blocked using zen.spamhaus.org",
        "554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1",
    ):
        _, evidence, part = read(Reply(554, text))
        assert evidence == "residential-line" or not part


def test_a_recipient_is_unknown_only_after_rcpt() -> None:
    one = Reply(550, "550 Requested action not taken: mailbox unavailable")
    for event in ("", "recipient", "message", "reply"):
        assert read(one, "", event)[0] == "unknown-user"
    for event in ("greeting", "hello", "sender"):
        assert read(one, "", event)[0] == "sender-rejected"


def test_rows_of_the_policy_come_first() -> None:
    one = Reply(550, "550 5.1.1 User unknown")
    assert read(one, "luserunknown")[1] == "dnsbl-listed"
    assert read(one, "lnothing\nc_zz_")[1] == "unknown-user"
    assert read(Reply(550, "550 zz qq"), "lnothing\nc_zz_")[0] == "content"


PIECES = ("550 ", "5.7.1 ", "127.0.0.", "://", "spamhaus", "user", " pbl ")
WORDS = st.sampled_from([*"<>@[].#()=-/+!$\\~_ é\udcff\x00", *PIECES])
TEXTS = st.one_of(st.text(max_size=600), st.lists(WORDS, max_size=300).map("".join))


@settings(deadline=None)
@given(st.integers(0, 999), TEXTS, st.lists(TEXTS, max_size=50), st.sampled_from(["", "luser", "c_pbl_"]))
def test_no_text_raises(code: int, text: str, before: list[str], own: str) -> None:
    kind, evidence, part = read(Reply(code, text, tuple(before)), own)
    assert (kind == "none") == (code < 400)
    assert 0 <= part <= 1
    assert evidence in {value for _, value, _ in KINDS.values()} | {"none", "deferred"}


@settings(deadline=None)
@given(text=TEXTS, before=st.lists(TEXTS, max_size=50))
def test_what_is_searched_is_bounded(text: str, before: list[str]) -> None:
    words, letters = searched(Reply(550, text, tuple(before)))
    assert len(words) < 3 * replies.MOST + 40  # a space for each line, twice
    assert len(letters) < 2 * replies.MOST + 2
    assert (words + letters).isascii()


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a reply is, no row is compared with it twice."""
    compared: list[str] = []
    has = replies._has

    def counted(parts: str, words: str, letters: str) -> bool:
        compared.append(parts)
        return has(parts, words, letters)

    monkeypatch.setattr(replies, "_has", counted)
    everything = " ".join(one.text for one in TABLE)
    for text in (everything, everything * 100, "550 " + "ab" * 100000):
        compared.clear()
        read(Reply(599, text, (text,) * 40))
        assert len(compared) <= 2 * len(TABLE)
