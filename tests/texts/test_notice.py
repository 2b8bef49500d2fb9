"""Texts for subscribers: complete and alike in every language, and within the rules for a notice."""

from __future__ import annotations

import re
import string
import time

import pytest

from cpe_filter.detect.evidence import INDICATORS, LEGITIMATE
from cpe_filter.explain.dialogue import MAX_LINE_BYTES, fold
from cpe_filter.explain.text import explanation
from cpe_filter.policy.keys import LANGUAGES as IN_POLICY
from cpe_filter.policy.kinds import MAX_PROVIDER, MAX_TEXT
from cpe_filter.policy.model import Policy
from cpe_filter.texts import de as notice_de
from cpe_filter.texts import en as notice_en
from cpe_filter.texts import nl as notice_nl
from cpe_filter.texts import tr as notice_tr
from cpe_filter.texts.notice import LANGUAGES, MAX_SMS, Words, ascii_text, noticed
from tests.policies import changed_policy, make_policy

TEXTS = {"en": notice_en.TEXTS, "nl": notice_nl.TEXTS, "de": notice_de.TEXTS, "tr": notice_tr.TEXTS}
#: What is said to machines that know no more than US-ASCII.
ASCII = ("refusal", "sms")
PLACES = [(language, key) for language in LANGUAGES for key in TEXTS["en"]]


def placeholders(text: str) -> set[str]:
    """Their names; {Provider} and {provider} are one, since a sentence may begin elsewhere in another language."""
    return {name.lower() for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_the_policy_has_the_same_languages() -> None:
    assert LANGUAGES == IN_POLICY
    assert set(TEXTS) == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_text_in_the_same_order(language: str) -> None:
    assert list(TEXTS[language]) == list(TEXTS["en"])
    assert len(TEXTS[language]["months"].split()) == 12


@pytest.mark.parametrize(("language", "key"), PLACES)
def test_every_text_has_the_same_placeholders(language: str, key: str) -> None:
    leads = key in ("lead_action", "lead_none", "lead_not_here")
    assert placeholders(TEXTS[language][key]) == ({"provider"} if leads else placeholders(TEXTS["en"][key]))


@pytest.mark.parametrize(("language", "key"), PLACES)
def test_no_text_breaks_the_rules(language: str, key: str) -> None:
    text = TEXTS[language][key]
    assert text
    assert text == " ".join(text.split()), "one space between words, none at the ends"
    assert text.isprintable()
    assert not re.search(r"https?:|www\.|@|\.(com|net|org|de|nl|tr)\b", text), "no link and no address"
    assert not re.search(r"[<>&`]", text), "no markup"
    assert not re.search(r"\b\d{1,3}(\.\d{1,3}){3}\b|[0-9a-f]{2}(:[0-9a-f]{2}){2}", text)
    if key in ASCII:
        assert text.isascii()


@pytest.mark.parametrize("language", LANGUAGES)
def test_only_the_safety_text_speaks_of_logging_in(language: str) -> None:
    """And only to say that there is no such thing. A new password for a cleaned device is another matter."""
    words = re.compile(r"log ?in|inlog|anmelde|giriş|password|passwor[dt]|wachtwoord|parola", re.IGNORECASE)
    assert {key for key, text in TEXTS[language].items() if words.search(text)} == {"mail_safety", "step_2"}


def test_people_are_addressed_politely() -> None:
    german = " ".join(notice_de.TEXTS.values())
    assert re.search(r"\bSie\b", german)
    assert not re.search(r"\b(du|dein|deine|dir|dich)\b", german, re.IGNORECASE)
    dutch = " ".join([*notice_nl.TEXTS.values(), *notice_nl.NOTICED.values()])
    assert re.search(r"\bu\b", dutch)
    assert not re.search(r"\b(je|jij|jouw|jullie)\b", dutch, re.IGNORECASE)
    assert not re.search(r"\b(sen|senin|seni)\b", " ".join(notice_tr.TEXTS.values()), re.IGNORECASE)


#: What readers stumbled over, and what is said in its place.
_WORN = {
    "en": r"made-up number|for news|goes on watching|off the Internet|\b(?:says?|said) that it is clean",
    "de": r"erfunden\w* Nummer|Nehmen Sie das Gerät vom|scheint befallen|Es hat es bei|Webseiten|Handeln erforderlich",
    "nl": r"verzonnen nummer|Zaaknummer|het zijne|\. Waarschijnlijk|(?<![-\w/])mail\b",
    "tr": r"[Yy]önlendirici|ilginizi bekliyor|uydurma bir numara|Aynı görüşte|başlangıç:",
}
#: Quotation marks of each language.
_QUOTES = {"en": "“”", "de": "„“", "nl": "“”", "tr": "“”"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_worn_words_do_not_come_back(language: str) -> None:
    everything = [*TEXTS[language].values(), *noticed(language).values()]
    assert [text for text in everything if re.search(_WORN[language], text)] == []
    assert {c for text in everything for c in text if c in '„“”‚‘»«"'} <= set(_QUOTES[language])


@pytest.mark.parametrize("language", LANGUAGES)
def test_buttons_are_quoted_as_they_are_labelled(language: str) -> None:
    texts, begin, end = TEXTS[language], _QUOTES[language][0], _QUOTES[language][1]
    assert f"{begin}{texts['answer_cleaned']}{end}" in texts["step_3"]
    assert f"{begin}{texts['answer_server']}{end}" in texts["own"]
    assert f"{begin}{{answer}}{end}" in texts["step_3_here"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_finding_is_told_in_every_language(language: str) -> None:
    against = {name for name, one in INDICATORS.items() if one.family != LEGITIMATE}
    told = noticed(language)
    assert set(told) == against
    for text in told.values():
        assert text[0].isupper()
        assert text.endswith(".")
        assert text.isprintable()
        assert "{" not in text
        assert len(text) < 160
    # What means the same in plain English does so elsewhere, and the other way round.
    english = noticed("en")
    pairs = {(english[name], told[name]) for name in against}
    assert len(pairs) == len(set(english.values())) == len(set(told.values()))


def test_each_meaning_is_told_once_and_unknown_findings_are_left_out() -> None:
    words = Words("en", "")
    assert words.noticed(["path-spaced", "verb-case", "of-a-newer-filter", "accepted"]) == [
        "It writes mail commands as spam programs do."
    ]


# ── what the responder says ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("provider", ["", "Example Net", "Ü" * MAX_PROVIDER, "x" * MAX_PROVIDER])
def test_a_refusal_is_one_line_of_ascii(language: str, provider: str) -> None:
    text = Words(language, provider).refusal("")
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= MAX_TEXT
    reply = fold(554, "5.7.1", text)
    assert reply.count(b"\r\n") == 1, "some programs show one line only"
    assert len(reply) <= MAX_LINE_BYTES
    assert ("587" in text, "465" in text) == (True, True), "what still works"


def test_the_policys_own_text_wins() -> None:
    own = make_policy(explain_text="No.", notice_language="de", notice_help_url="https://isp.example/help")
    assert explanation(own) == "No. https://isp.example/help"
    assert explanation(changed_policy(own, explain_url="https://isp.example/mail")) == "No. https://isp.example/mail"
    other = changed_policy(own, explain_text="", notice_provider="Bürgernetz")
    assert explanation(other).startswith("Buergernetz hat diese Nachricht abgelehnt")
    assert explanation(other).endswith(" https://isp.example/help")
    assert explanation(Policy()).startswith("Your Internet provider, not the recipient, refused this")


@pytest.mark.parametrize(
    ("language", "text", "plain"),
    [
        ("de", "Bürgernetz Köln GmbH & Söhne, Straße", "Buergernetz Koeln GmbH & Soehne, Strasse"),
        ("tr", "Örnek İletişim A.Ş. ığç", "Ornek Iletisim A.S. igc"),
        ("nl", "Coöperatie één", "Cooperatie een"),
        ("en", "日本", "??"),
    ],
)
def test_names_in_ascii(language: str, text: str, plain: str) -> None:
    assert ascii_text(text, language) == plain


# ── the short message, and times ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("provider", ["", "Example Net", "ß" * MAX_PROVIDER])
def test_a_short_message_is_one_message_and_says_nothing_personal(language: str, provider: str) -> None:
    text = Words(language, provider).short_message()
    assert text.isascii()
    assert len(text) <= MAX_SMS
    assert not placeholders(TEXTS[language]["sms"]) - {"provider"}
    assert not re.search(r"\d", text)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "5 March 2027, 09:07"),
        ("nl", "5 maart 2027, 09:07 uur"),
        ("de", "5. März 2027, 09:07 Uhr"),
        ("tr", "5 Mart 2027, 09:07"),
    ],
)
def test_moments(language: str, text: str) -> None:
    assert Words(language, "").moment(time.strptime("2027-03-05 09:07", "%Y-%m-%d %H:%M")) == text


def test_a_providers_name_is_never_a_placeholder() -> None:
    assert "{case}{0}" in Words("en", "{case}{0}")("object")


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_a_name_the_provider_is_still_spoken_of(language: str) -> None:
    for key in TEXTS[language]:
        if not placeholders(TEXTS[language][key]) - {"provider"}:
            words = Words(language, "")
            assert f"({words('provider')})" not in words(key)
    assert "(Example Net)" in Words("de", "Example Net")("object")
