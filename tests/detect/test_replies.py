"""Refusals as servers word them -> what they say about the client. A new wording is one line here."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.detect.replies import DEFERRED, LISTED, NONE, REFUSED, RESIDENTIAL, UNKNOWN_USER, classify, read
from cpe_filter.inspect.facts import Reply
from cpe_filter.policy.reply_patterns import CLASSES

CASES = [
    # agreement
    ("220 mx.example.net ESMTP", NONE),
    ("250 2.1.5 Ok", NONE),
    ("354 End data with <CR><LF>.<CR><LF>", NONE),
    # the mailbox does not exist
    ("550 5.1.1 <*@a.example>: Recipient address rejected: User unknown in virtual mailbox table", UNKNOWN_USER),
    ("550 5.1.1 <*@a.example>: Recipient address rejected: User unknown in local recipient table", UNKNOWN_USER),
    ("550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking", UNKNOWN_USER),
    ("550-5.1.1 The email account that you tried to reach does not exist.", UNKNOWN_USER),
    ("550 Unrouteable address", UNKNOWN_USER),
    ("550 No such user here", UNKNOWN_USER),
    ("550 No Such User Here", UNKNOWN_USER),
    ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", UNKNOWN_USER),
    ("550 5.4.1 Recipient address rejected: Access denied. No such recipient", UNKNOWN_USER),
    ("554 delivery error: dd This user doesn't have a example.com account (*@example.com) [0]", UNKNOWN_USER),
    ("550 #5.1.0 Address rejected. Unknown address", UNKNOWN_USER),
    ("550 Requested action not taken: mailbox unavailable", UNKNOWN_USER),
    ("550 Invalid recipient *@example.com", UNKNOWN_USER),
    ("511 sorry, no mailbox here by that name (#5.1.1 - chkuser)", UNKNOWN_USER),
    ("553 sorry, that domain isn't in my list; mailbox not found", UNKNOWN_USER),
    ("550 cuda_nsu <*@example.com>: Recipient address rejected: User unknown in virtual mailbox table", UNKNOWN_USER),
    ("550 No such user - psmtp", UNKNOWN_USER),
    ("550 5.1.1  https://support.example.com/mail/?p=NoSuchUser d2e1a72fcca58-7a1 - gsmtp", UNKNOWN_USER),
    # the line is on a list of hosts that send spam
    ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; CBL", LISTED),
    ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; SBL CSS", LISTED),
    # zen holds the PBL, too, and that is why a home line is usually on it
    ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", RESIDENTIAL),
    ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.spamcop.net", LISTED),
    ("550 5.7.1 Mail from 192.0.2.1 refused, see https://www.spamhaus.org/query/ip/192.0.2.1 (XBL)", LISTED),
    ("550 blocked: listed in cbl.abuseat.org", LISTED),
    ("554 Service unavailable; Client host [192.0.2.1] blocked using Barracuda Reputation", LISTED),
    ("554 Your access to this mail system has been rejected due to the sending MTA's poor reputation.", LISTED),
    ("421 4.7.0 Our system has detected an unusual rate of mail from your sending IP address", LISTED),
    ("554 5.7.1 [192.0.2.1] is listed at dnsbl.example", LISTED),
    ("550 5.7.1 Service unavailable, Client host [192.0.2.1] blocked using Blocklist 1", LISTED),
    ("550 Rejected: your address is infected with a spam sending trojan", LISTED),
    ("554 5.7.1 UCEPROTECT level 1", LISTED),
    ("550 SC-001 (BAY004) Mail rejected for policy reasons. See senderbase for your reputation", LISTED),
    ("554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1", LISTED),
    ("550 5.7.1 refused, see https://csi.cloudmark.com/en/reset/?ip=192.0.2.1", LISTED),
    ("550 5.7.606 Access denied, banned sending IP [192.0.2.1]", LISTED),
    ("550 5.7.1 messages weren't sent: part of their network is on our block list (S3150)", LISTED),
    ("550 blocked using b.barracudacentral.org", LISTED),
    ("421 4.7.28 https://support.example.com/mail/?p=UnsolicitedIPError x7 - gsmtp", LISTED),
    ("550 RBL: 192.0.2.1", LISTED),
    # the line is a home's: proves no infection
    ("550 5.7.1 Client host [192.0.2.1] blocked using pbl.spamhaus.org", RESIDENTIAL),
    ("554 5.7.1 blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.1 PBL", RESIDENTIAL),
    (
        "554-gmx.example.net (mxgmx) Nemesis ESMTP Service; dynamic address, use your ISP's mail server",
        RESIDENTIAL,
    ),
    ("550 5.7.1 Dynamic IP addresses are not accepted here, use the SMTP server of your provider", RESIDENTIAL),
    ("451 http://www.example.org/query/bl?ip=192.0.2.1 Dynamic IP Addresses See:", RESIDENTIAL),
    ("550 Dialup/transparent proxy not allowed", RESIDENTIAL),
    ("553 5.1.8 DUL listed", RESIDENTIAL),
    ("550 5.7.1 Fix reverse DNS for 192.0.2.1", RESIDENTIAL),
    ("550 residential connections are not welcome", RESIDENTIAL),
    ("554 5.7.1 Client host rejected: generic rDNS", RESIDENTIAL),
    ("550 5.7.1 192.0.2.1 is in Spamhaus PBL, see https://www.spamhaus.org", RESIDENTIAL),
    ("550 listed by Spamhaus (PBL)", RESIDENTIAL),
    ("550 5.7.1  https://support.example.com/mail/?p=NotAuthorizedError x1si - gsmtp", RESIDENTIAL),
    ("550 DY-001 Mail rejected: does not relay dynamically-assigned IP ranges", RESIDENTIAL),
    ("550 5.7.25 The IP address sending this message does not have a PTR record", RESIDENTIAL),
    ("450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]", RESIDENTIAL),
    # every home line hears this, because the list that was asked has the PBL in it
    ("553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, the ip is in Spamhaus's list", RESIDENTIAL),
    ("550 5.7.1 Service unavailable, Client host [192.0.2.1] blocked using Spamhaus. (AS16012611)", RESIDENTIAL),
    ("550 https://www.spamhaus.org/query/ip/192.0.2.1", RESIDENTIAL),
    ("554 Blocked by SPAMHAUS", RESIDENTIAL),
    ("450 4.7.1 Client host rejected: cannot find your hostname, [192.0.2.1]", RESIDENTIAL),
    # put off
    ("450 4.7.1 You are greylisted in this moment", DEFERRED),
    ("451 4.7.1 Greylisted by policy", DEFERRED),
    ("421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints", DEFERRED),
    ("450 4.2.0 <*@a.example>: Recipient address rejected: Greylisted for 300 seconds", DEFERRED),
    ("451 4.7.1 Greylisting in action, please come back later", DEFERRED),
    ("421 4.3.2 Service not available, closing transmission channel", DEFERRED),
    ("452 4.2.2 Mailbox full", DEFERRED),
    ("451 Temporary local problem - please try later", DEFERRED),
    ("450 4.1.1 <*@a.example>: Recipient address rejected: unverified address", DEFERRED),
    # a command that the server does not have is not a refusal
    ("500 5.5.1 Command unrecognized", NONE),
    ("502 5.5.2 Error: command not recognized", NONE),
    ("504 5.7.4 Unrecognized authentication type", NONE),
    # refused for another reason
    ("550 5.1.1 RCP-P2 Refused due to recipient preferences", REFUSED),
    ("550 5.1.1 <*@a.example> - 192.0.2.1 has sent to too many recipients this hour. IB607", REFUSED),
    ("550 5.1.7 <*@b.example>: Sender address rejected: undeliverable address: 550 5.1.1 User unknown", REFUSED),
    ("504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname", REFUSED),
    ("554 zz qq", REFUSED),
    ("553 5.1.8 <*@b.example>... Domain of sender address *@b.example does not exist", REFUSED),
    ("550 5.1.0 <*@b.example>: Sender address rejected: User unknown in virtual alias table", REFUSED),
    ("501 5.5.4 garbled command", REFUSED),
    ("550 5.7.1 <*@spamhaus.rbl.example>: not today", REFUSED),
    ("550 5.7.1 <infected.blocklist@b.example>: not today", REFUSED),
    ("550 permanent failure for one or more recipients (*@b.example:blocked)", REFUSED),
    ("553 5.1.8 <*@b.example>... Domain of sender address *@b.example does not resolve", REFUSED),
    ("554 5.7.1 Relay access denied", REFUSED),
    ("550 5.7.1 Unable to relay", REFUSED),
    ("554 5.7.1 Message contains spam or virus", REFUSED),
    ("552 5.3.4 Message size exceeds fixed limit", REFUSED),
    ("530 5.7.0 Must issue a STARTTLS command first", REFUSED),
    ("530 Authentication required", REFUSED),
    ("554 5.7.1 <x>: Helo command rejected: Host not found", REFUSED),
    ("503 5.5.1 Error: nested MAIL command", REFUSED),
    ("550 5.7.1 SPF check failed", REFUSED),
]


@pytest.mark.parametrize(("text", "kind"), CASES, ids=[text[:60] for text, _ in CASES])
def test_wording(text: str, kind: str) -> None:
    assert classify(Reply(int(text[:3]), text)) == kind


def test_no_reply_is_no_refusal() -> None:
    assert classify(None) == NONE


def test_the_reason_may_stand_in_an_earlier_line() -> None:
    before = ("5.7.1 [192.0.2.1] The IP you're using to send mail is not authorized to", "5.7.1 send email; PBL")
    assert classify(Reply(550, "550 5.7.1 see https://support.example/mail", before)) == RESIDENTIAL
    assert classify(Reply(554, "554 goodbye", ("your address is listed in xbl.example",))) == LISTED


# ── wordings of a signed document ───────────────────────────────────────────────────────────────────

BAD_LIST = "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.spamcop.net"
UNKNOWN = "550 5.1.1 User unknown"
HOME = "550 5.7.1 Client host [192.0.2.1] blocked using pbl.spamhaus.org"
UNREAD = "550 5.9.9 zut alors"
NO_COMMAND = "502 5.5.2 command not implemented"


def by_document(text: str, *rows: str, own: str = "", event: str = "recipient") -> str:
    return read(Reply(int(text[:3]), text), own, event, "\n".join(rows))[0]


@pytest.mark.parametrize(
    ("text", "row", "kind"),
    [
        (UNREAD, "uzutalors", "unknown-user"),
        (UNREAD, "lzutalors", "dnsbl-listed"),
        (UNREAD, "gzutalors", "greylisted"),
        (UNREAD, "lspamcop", "unread"),
        # what is known becomes milder
        (BAD_LIST, "mspamcop", "mixed-list"),
        (BAD_LIST, "hspamcop", "residential-line"),
        (BAD_LIST, "ispamcop", "unnamed-list"),
        (BAD_LIST, "tspamcop", "rate-limited"),
        (UNKNOWN, "fuserunknown", "mailbox-full"),
        # and nothing else
        (BAD_LIST, "uspamcop", "dnsbl-listed"),
        (BAD_LIST, "sspamcop", "dnsbl-listed"),
        (UNKNOWN, "luserunknown", "unknown-user"),
        (UNKNOWN, "iuserunknown", "unknown-user"),
        (HOME, "l_pbl_", "residential-line"),
        (HOME, "o_pbl_", "residential-line"),
        (NO_COMMAND, "ocommandnotimplemented", "not-implemented"),
        # no reply that is not a refusal is looked at
        ("250 2.1.5 zut alors", "lzutalors", NONE),
        ("354 zut alors", "lzutalors", NONE),
    ],
)
def test_by_a_document(text: str, row: str, kind: str) -> None:
    assert by_document(text, row) == kind


def test_a_document_goes_on_to_what_it_may_say() -> None:
    assert by_document(BAD_LIST, "sspamcop", "mspamcop") == "mixed-list"
    assert by_document(UNREAD, "gzutalors", "lzutalors") == "greylisted"


def test_the_routers_own_wordings_come_first() -> None:
    assert by_document(BAD_LIST, "mspamcop", own="sspamcop") == "sender-rejected"


_REPLIES = [text for text, _ in CASES] + [UNREAD, HOME, NO_COMMAND]


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(_REPLIES),
    st.lists(st.tuples(st.sampled_from([*CLASSES.values()]), st.sampled_from(("_c2", "_c3", "_c", "_", "e", "user")))),
    st.sampled_from(("", "greeting", "recipient", "content")),
)
def test_whatever_a_document_says(text: str, rows: list[tuple[str, str]], event: str) -> None:
    """250 stays no refusal; a reply that is known never becomes evidence of something else that weighs."""
    reply = Reply(int(text[:3]), text)
    before, after = (read(reply, "", event, signed) for signed in ("", "\n".join(map("".join, rows))))
    if reply.code < 400:
        assert after == (NONE, NONE, 0.0)
    elif before[0] != "unread":
        weighs = after[2] and after[1] not in (NONE, RESIDENTIAL, DEFERRED)
        assert not weighs or after == before or after[1:] in ((REFUSED, 0.25), (LISTED, 0.25)), (before, after)
        assert before[2] or not weighs
