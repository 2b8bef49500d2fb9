"""Texts for subscribers, in their language: texts by key, with their placeholders filled in.

Knows which languages there are. The words are data, one module for each language (en, nl, de, tr); only the one that is
needed is loaded. The page (notice.page), the responder and the collector's mail take their words from here. Must not
know policies, devices, files, cases or HTML.

Placeholders: {Provider} begins a sentence, {provider} is used within one. Names do not change their endings in any
language, so no text may require that. Other placeholders are documented where they are filled in. Tests check the rules
for every text: nothing asks to log in, no other company is named, the only link is the provider's help_url, and texts
for SMTP and short messages are US-ASCII.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from time import struct_time

#: The languages (ISO 639-1); policy.keys has the same.
LANGUAGES = ("en", "nl", "de", "tr")
#: The most characters that fit one short message.
MAX_SMS = 160

#: How a text names the provider where its language would inflect the name.
_NAMED = " ({provider})"
#: Letters in US-ASCII, by each language's custom.
_PLAIN = {
    "de": {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"},
    "": dict(zip("äöüÄÖÜßçÇğĞıİşŞéèëêáàâíìîïóòôúùûñÉÈËÊ", "aouAOUscCgGiIsSeeeeaaaiiiiooouuunEEEE", strict=True)),
}


class Words:
    """The texts of one of `LANGUAGES`. provider: its name, may be empty. `words("key", name=value)` is a text."""

    def __init__(self, language: str, provider: str) -> None:
        self.language = language
        self._texts: dict[str, str] = import_module(f"cpe_filter.texts.{language}").TEXTS
        self._provider = provider
        self._names = {
            "Provider": provider or self._texts["provider_first"],
            "provider": provider or self._texts["provider"],
        }

    def __call__(self, key: str, **values: object) -> str:
        text = self._texts[key]
        if not self._provider:  # "the provider" without its name
            text = text.replace(_NAMED, "")
        return text.format_map({**self._names, **values})

    def moment(self, time: struct_time) -> str:
        """A local time, to the minute."""
        month = self._texts["months"].split()[time.tm_mon - 1]
        clock = {"hour": f"{time.tm_hour:02}", "minute": f"{time.tm_min:02}"}
        return self("moment", day=time.tm_mday, month=month, year=time.tm_year, **clock)

    def number(self, value: int) -> str:
        """With a sign between thousands."""
        text = f"{value:,}"
        return text if self.language == "en" else text.replace(",", ".")

    def noticed(self, indicators: Iterable[str]) -> list[str]:
        """What indicators mean, each meaning once. Unknown ones, of a newer filter, are left out."""
        known = noticed(self.language)
        return list(dict.fromkeys(known[name] for name in indicators if name in known))

    def refusal(self, url: str) -> str:
        """What the responder says (RFC 5321: printable US-ASCII), the URL last where there is one."""
        return f"{self._ascii('refusal')} {url}".rstrip()

    def short_message(self) -> str:
        """For SMS: it does not identify a person or device (RFC 6561 section 5)."""
        text = self._ascii("sms")
        return text if len(text) <= MAX_SMS else Words(self.language, "").short_message()

    def _ascii(self, key: str) -> str:
        named = {name: ascii_text(text, self.language) for name, text in self._names.items()}
        return self._texts[key].format_map(named)


def noticed(language: str) -> dict[str, str]:
    """Indicator (see detect.evidence) -> its text for subscribers, without indicators in favour of a device."""
    if language != "en":
        found: dict[str, str] = import_module(f"cpe_filter.texts.{language}").NOTICED
        return found
    from cpe_filter.detect.evidence import INDICATORS, LEGITIMATE

    return {name: one.subscriber for name, one in INDICATORS.items() if one.family != LEGITIMATE}


def ascii_text(text: str, language: str) -> str:
    """`text` in US-ASCII; a letter without a counterpart becomes `?`."""
    letters = {**_PLAIN[""], **_PLAIN.get(language, {})}
    return "".join(c if c.isascii() else letters.get(c, "?") for c in text)
