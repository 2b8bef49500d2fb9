"""What the provider writes to a subscriber: as RFC 5322 and the rules for a notice have it; by command and webhook."""

from __future__ import annotations

import json
import re
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect.cases import notice
from cpe_filter.collect.cases.notice import Facts, NoNoticeError, Terms
from cpe_filter.collect.cases.plan import case_id
from cpe_filter.collect.config.file import ConfigError, build
from cpe_filter.texts.notice import LANGUAGES, Words
from tests.collect.ca import Authority
from tests.collect.cases.test_webhook import verified
from tests.collect.cases.test_worker import authority, collector, files, run, until
from tests.collect.http_end import End, Reply
from tests.collect.reports import body, incident
from tests.collect.running import Collector
from tests.collect.test_config import changed

__all__ = ["authority", "files"]

# 2026-11-26 20:00 UTC.
NOW = 1_795_723_200
FACTS = Facts(
    "0123456789abcdef", "open", "compromised", "explain", "b827eb", "living-room-tv", NOW - 3600 * 24 * 200, NOW
)
TERMS = Terms("en", "Example Net", "https://help.isp.example/mail-filter", "Europe/Amsterdam")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_mail_that_any_program_reads(language: str) -> None:
    made = notice.notice(FACTS, TERMS._replace(language=language))
    raw = notice.message(made)
    assert all(len(line) <= 998 for line in raw.split(b"\r\n")), "RFC 5322 section 2.1.1"
    assert b"\n" not in raw.replace(b"\r\n", b"")
    head = raw.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert all(len(line) <= 78 for line in head.split(b"\r\n"))
    read = message_from_bytes(raw, policy=default)
    assert read["Subject"] == made.subject == Words(language, "")("mail_subject")
    assert read["Auto-Submitted"] == "auto-generated"
    assert read["Content-Language"] == language
    assert read.get_content_type() == "text/plain"
    assert read.get_content().replace("\r\n", "\n") == made.body
    assert not {"from", "to", "date"} & {name.lower() for name in read}
    assert all(len(line) <= 72 for line in made.body.splitlines())


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_keeps_the_rules(language: str) -> None:
    made = notice.notice(FACTS, TERMS._replace(language=language))
    flat = " ".join(made.body.split())
    words = Words(language, "Example Net")
    for key in ("blocked_block", "works", "step_1", "step_2", "step_3", "then_watch", "own", "object", "mail_page"):
        assert words(key) in flat
    assert words("mail_safety") in flat
    # Nothing is promised that depends on the router's mode.
    assert words("then_free") not in flat
    assert "living-room-tv" in flat
    assert FACTS.case in flat
    assert words("maker", oui="B8:27:EB") in flat
    # Summer time then, winter time now.
    assert re.search(r"10 mei 2026|10 May 2026|10\. Mai 2026|10 Mayıs 2026", flat)
    assert "22:00" in flat
    assert "(CEST)" in flat
    assert "21:00" in flat
    assert re.findall(r"https?://\S+", made.body) == [TERMS.help_url]
    assert "@" not in made.body
    assert (len(made.sms) <= 160, made.sms.isascii()) == (True, True)
    for personal in ("living-room-tv", FACTS.case, "B8:27", "https:"):
        assert personal not in made.sms


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("reset", "What is blocked E-mail that this device sends straight"),
        ("limit", "What is slowed down E-mail that this device sends straight"),
        ("monitor", "What is blocked Nothing. The filter only watches."),
    ],
)
def test_what_is_blocked(act: str, said: str) -> None:
    assert said in " ".join(notice.notice(FACTS._replace(act=act), TERMS).body.split())


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("annas-tv_2", "annas-tv_2"),
        ("evil.example", "evil?example"),
        ("http://evil.example/x", "http???evil?example?x"),
        ("a@b.example", "a?b?example"),
        ("x\r\nBcc: a", "x??Bcc??a"),
        ("\u202eabc", "?abc"),
        ("ёжик", ""),
        ("x" * 500, "x" * 63),
        ("", ""),
    ],
)
def test_a_devices_name_is_never_a_link_or_a_header(name: str, shown: str) -> None:
    assert notice.safe(name) == shown
    made = notice.notice(FACTS._replace(name=name), TERMS)
    assert re.findall(r"https?://\S+", made.body) == [TERMS.help_url]
    assert (shown or "its name is on your router's page") in made.body
    assert len(message_from_bytes(notice.message(made)).keys()) == 6


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"state": "clean"}, "case 0123456789abcdef is clean: there is no notice for it"),
        ({"state": "closed"}, "is closed"),
        ({"standing": "suspected"}, "is only suspected"),
    ],
)
def test_nothing_to_tell(change: dict[str, str], why: str) -> None:
    with pytest.raises(NoNoticeError, match=why):
        notice.notice(Facts(**{**FACTS._asdict(), **change}), TERMS)


def test_without_provider_help_or_maker() -> None:
    made = notice.notice(FACTS._replace(oui=None, name=""), Terms())
    assert "https:" not in made.body
    assert "tell your Internet provider" in " ".join(made.body.split())
    assert made.body.endswith("Kind regards\nYour Internet provider\n")
    assert "(UTC)" in made.body


# ── configuration ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"language": "fr"}, "allowed: en, nl, de, tr"),
        ({"provider": "x" * 61}, "at most 60 characters"),
        ({"provider": "a\nb"}, "one line"),
        ({"help_url": "http://isp.example"}, "an https URL, or empty"),
        ({"help_url": "https://isp.example@evil.example"}, "an https URL, or empty"),
        ({"help_url": "https://isp.example/\r\nx"}, "an https URL, or empty"),
        ({"zone": "Europe/Atlantis"}, "a time zone such as Europe/Amsterdam"),
        ({"zone": "../../etc/passwd"}, "a time zone"),
        ({"zone": ""}, "a time zone"),
    ],
)
def test_wrong_keys(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        build(changed("notice", **keys), "f")


def test_right_keys() -> None:
    for url in ("", "https://isp.example", "https://isp.example:8443/help?x=1"):
        build(changed("notice", provider="Bürgernetz", help_url=url, zone="Europe/Istanbul"), "f")


# ── the command, and the webhook ────────────────────────────────────────────────────────────────


TABLE = {
    "language": "nl", "provider": "Voorbeeld Net", "help_url": "https://hulp.isp.example", "zone": "Europe/Amsterdam",
}  # fmt: skip


def reported(it: Collector, authority: Authority) -> str:
    """A case in the collector's store: its id."""
    raised = incident(2, up=900, kind="raised", name="annas-tv")
    assert it.post(authority.router("router-1"), body(incident(1, up=890, kind="opened"), raised)).status == 200
    return case_id("S1", "router-1", raised["dev"])


def test_the_command(tmp_path: Path, authority: Authority, files: dict[str, Path]) -> None:
    it = collector(tmp_path, authority, files, notice=TABLE)
    with it:
        number = reported(it, authority)
        until(lambda: run(it, "notice", "--case", number).returncode == 0, "no case")
        done = run(it, "notice", "--case", number)
        assert done.stderr == ""
        read = message_from_bytes(done.stdout.encode(), policy=default)
        assert read["Subject"] == "Een apparaat bij u thuis vraagt uw aandacht"
        assert "annas-tv" in read.get_content()
        assert number in read.get_content()
        told = json.loads(run(it, "notice", "--case", number, "--language", "tr", "--format", "json").stdout)
        assert {name: told[name] for name in ("v", "case", "subscriber", "contact", "language")} == {
            "v": 1, "case": number, "subscriber": "S1", "contact": "crm:1", "language": "tr",
        }  # fmt: skip
        assert told["subject"] == "Evinizde ilgilenmeniz gereken bir cihaz var"
        assert "https://hulp.isp.example" in told["body"]
        assert told["sms"].startswith("Voorbeeld Net: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["notice"], "the following arguments are required: --case"),
        (["notice", "--case", "nobody"], "no case 'nobody'"),
        (
            ["notice", "--case", "x", "--language", "fr"],
            "--language: invalid choice: 'fr' (choose from 'en',",
        ),
        (
            ["notice", "--case", "x", "--format", "html"],
            "--format: invalid choice: 'html' (choose from 'mail', 'json')",
        ),
        (["notice", "x", "--case", "x"], "unrecognized arguments: x"),
        (["export", "csv", "--language", "de"], "unrecognized arguments: --language de"),
        (["check", "--case", "x"], "unrecognized arguments: --case x"),
    ],
)
def test_wrong_words(tmp_path: Path, authority: Authority, files: dict[str, Path], words: list[str], said: str) -> None:
    it = collector(tmp_path, authority, files)
    it.write()
    done = run(it, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(r"cpe-filter( collector( [a-z]+)?)?: ", done.stderr.splitlines()[-1]), done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("texts", [True, False])
def test_the_webhook_carries_the_texts_where_it_is_told_to(
    tmp_path: Path, authority: Authority, files: dict[str, Path], texts: bool
) -> None:
    with End(lambda asked: Reply(200)) as end:
        hook = {"url": f"{end.url}/hook", "secret_file": str(files["secret"]), "texts": texts}
        it = collector(tmp_path, authority, files, webhook=hook, notice=TABLE)
        with it:
            number = reported(it, authority)
            until(lambda: end.asked, "the webhook was not asked")
            told = verified(end.asked[0])
            assert (told["v"], told["event"], told["case"]["id"]) == (1, "opened", number)
            assert ("notice" in told) == texts
            if texts:
                made = told["notice"]
                assert (made["v"], made["language"]) == (1, "nl")
                assert number in made["body"]
                assert "annas-tv" not in json.dumps(told), "what the webhook is told has no device's name"
