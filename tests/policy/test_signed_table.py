"""[signed]: what a policy has of the ISP's documents, and that what is wrong there is one clear line."""

from __future__ import annotations

from typing import Any

import pytest

from cpe_filter.detect import replies
from cpe_filter.policy import file as policy_file
from cpe_filter.policy import signed_table
from cpe_filter.policy.model import PolicyError, SignedTable
from cpe_filter.policy.reply_patterns import CLASSES
from cpe_filter.policy.signed_table import MAX_RATES, MAX_WORDINGS, MILD

DIGEST = "0123456789abcdef"
ROWS = ["mailbox-full: quota exhausted", "dnsbl-listed: blocked by our own sensors", "mailbox-full: quota exhausted"]


def built(**values: Any) -> SignedTable:
    return policy_file.build({"signed": values}, "p.toml").signed


def test_what_it_has() -> None:
    assert built() == SignedTable()
    made = built(policy=f"3 {DIGEST}", table=f"41 {DIGEST}", rates="cpe-filter rates 1\n", wordings=ROWS)
    assert (made.policy, made.table, made.replies) == (f"3 {DIGEST}", f"41 {DIGEST}", "")
    assert made.rates == "cpe-filter rates 1\n"
    assert made.wordings == "fquotaexhausted\nlblockedbyourownsensors"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"relays": []}, r'\[signed\] unknown key "relays"'),
        ({"table": "41"}, r"\[signed\] table is .*expected a number and a digest of 16 hex digits"),
        ({"table": f"x {DIGEST}"}, "expected a number"),
        ({"table": f"{'9' * 40} {DIGEST}"}, "expected a number"),
        ({"table": 41}, "expected a number"),
        ({"rates": 3}, r"\[signed\] rates: allowed: a text of at most 32768 ASCII characters"),
        ({"rates": "é"}, "ASCII"),
        ({"rates": "x" * (MAX_RATES + 1)}, "at most 32768"),
        ({"wordings": "x"}, f"a list of at most {MAX_WORDINGS} wordings"),
        ({"wordings": ["mailbox-full: quota"] * (MAX_WORDINGS + 1)}, "a list of at most"),
        ({"wordings": [3]}, r"\[signed\] wordings, number 1, is .*allowed: a class, a colon"),
        ({"wordings": ["accepted: quota"]}, 'its class is "accepted"; allowed: unknown-user'),
        ({"wordings": [ROWS[0], "mailbox-full: x"]}, "number 2, is .*a phrase of 3 letters"),
        ({"wordings": [f"mailbox-full: {'x' * 300}"]}, "too long"),
        ({"wordings": ["mailbox-full: 250"]}, "a reply code such as 550"),
        ({"wordings": ["mailbox-full: !quota"]}, "it only excludes"),
        ({"wordings": ["mailbox-full: quo\nlquota"]}, "US-ASCII"),
    ],
)
def test_what_is_wrong(values: dict[str, Any], said: str) -> None:
    with pytest.raises(PolicyError, match=said) as refused:
        built(**values)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_not_a_table() -> None:
    with pytest.raises(PolicyError, match="expected a table"):
        policy_file.build({"signed": []}, "p.toml")


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize(
    "pattern", ["550", "5.7.1", "=user", "=not here", "mail", "550 + user", "user + !unknown user"]
)
def test_what_weighs_has_to_say_enough(kind: str, pattern: str) -> None:
    """A few letters, or a code, say too little where an unknown wording would begin to weigh."""
    entry = f"{kind}: {pattern}"
    if CLASSES[kind] in MILD:
        assert signed_table.wordings([entry], "w")
    else:
        with pytest.raises(PolicyError, match="allowed: a phrase of 8 letters or more"):
            signed_table.wordings([entry], "w")


def test_mild_is_what_the_filter_takes_for_mild() -> None:
    """It never weighs more than what no row knows."""
    assert set(MILD) == {letter for letter in CLASSES.values() if replies.may_replace("o", letter)}
