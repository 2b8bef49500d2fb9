"""What subscribers are told, in their language: the texts' keys, their placeholders, and how they are filled in.

Knows which texts there are; the words are one module a language (notice_en, notice_nl, notice_de, notice_tr), of which
only the one that is asked for is loaded. Pure data and format: the page (notice_page), the responder and the
collector's mail take their words from here. Must not know policies, devices, files or cases.
"""

from __future__ import annotations

from importlib import import_module

#: The languages (ISO 639-1); policy_keys names the same.
LANGUAGES = ("en", "nl", "de", "tr")

#: Letters of names in US-ASCII, as the languages themselves write them where they must.
_PLAIN = {
    "de": {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"},
    "": dict(zip("äöüÄÖÜßçÇğĞıİşŞéèëêáàâíìîïóòôúùûñÉÈËÊ", "aouAOUscCgGiIsSeeeeaaaiiiiooouuunEEEE", strict=True)),
}


def texts(language: str) -> dict[str, str]:
    """All texts of one of `LANGUAGES`, by key."""
    found: dict[str, str] = import_module(f"cpe_filter.report.notice_{language}").TEXTS
    return found


def providers(language: str, provider: str) -> dict[str, str]:
    """What {Provider} (it begins a sentence) and {provider} stand for; `provider` may be empty."""
    words = texts(language)
    return {"Provider": provider or words["provider_first"], "provider": provider or words["provider"]}


def refusal(language: str, provider: str, url: str) -> str:
    """What the responder says (RFC 5321: printable US-ASCII), the URL last where there is one."""
    named = {key: ascii_text(name, language) for key, name in providers(language, provider).items()}
    return f"{texts(language)['refusal'].format_map(named)} {url}".rstrip()


def ascii_text(text: str, language: str) -> str:
    """`text` in US-ASCII; a letter without a counterpart becomes `?`."""
    letters = {**_PLAIN[""], **_PLAIN.get(language, {})}
    return "".join(c if c.isascii() else letters.get(c, "?") for c in text)
