"""The LuCI app's texts: the template is complete, so are the translations, and what the notice says, too, is alike."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.texts.notice import LANGUAGES as NOTICE_LANGUAGES
from tests.openwrt.luci_po import LANGUAGES, TEMPLATE, catalogue, parse, template, texts
from tests.openwrt.luci_router import APP

#: Sentences of the notice that the pages say in the same words, by its keys.
SHARED = (
    *(
        "standing_compromised",
        "standing_unusual",
        "h_question",
        "standing_clear",
        "h_blocked",
        "h_limited",
        "blocked_block",
    ),
    *("blocked_monitor", "blocked_all", "h_works", "works", "step_1", "step_2", "action", "no_action", "since"),
    *("unnamed", "router", "home", "behind", "maker", "random", "h_noticed", "h_others", "nothing"),
)


def notice(lang: str) -> dict[str, str]:
    """The notice's texts with our placeholders."""
    found: dict[str, str] = import_module(f"cpe_filter.texts.{lang}").TEXTS
    return {key: re.sub(r"\{\w+\}", "%s", text) for key, text in found.items()}


def test_the_template_is_that_of_the_sources() -> None:
    assert TEMPLATE.read_text() == template(), "python -m tests.openwrt.luci_po"
    assert set(parse(TEMPLATE.read_text())) == {"", *texts()}


def test_languages_are_the_notice_s() -> None:
    assert {"en", *LANGUAGES} == set(NOTICE_LANGUAGES)
    assert {path.name for path in (APP / "po").iterdir()} == {"templates", *LANGUAGES}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_translation_is_complete(lang: str) -> None:
    found = catalogue(lang)
    assert set(found) == set(texts())
    for text, said in found.items():
        assert re.findall(r"%.", text) == re.findall(r"%.", said), text
        assert said == " ".join(said.split())
        assert not re.search(r"[<>&]", said), text
        assert text.endswith((".", ":", "?")) == said.endswith((".", ":", "?")), text
        for word in ("587", "465", "RFC 1918", "`reload`", "https://", "cpe-filter exempt", "2027-01-31"):
            assert (word in text) == (word in said), text


@pytest.mark.parametrize("lang", LANGUAGES)
def test_sentences_are_the_notice_s(lang: str) -> None:
    english, theirs, ours = notice("en"), notice(lang), catalogue(lang)
    assert {ours[english[key]] for key in SHARED} == {theirs[key] for key in SHARED}
    noticed = import_module(f"cpe_filter.texts.{lang}").NOTICED
    assert {ours[INDICATORS[name].subscriber] for name in noticed} == set(noticed.values())


def test_signs_are_the_table_s() -> None:
    script = (APP / "htdocs/luci-static/resources/cpe-filter/words.js").read_text()
    table = script[script.index("const SIGNS = {") : script.index("};", script.index("const SIGNS = {"))]
    found = re.findall(r"^\t'([\w-]+)': _\('((?:[^'\\]|\\.)*)'\),?$", table, re.MULTILINE)
    assert {name: re.sub(r"\\(.)", r"\1", text) for name, text in found} == {
        name: row.subscriber for name, row in INDICATORS.items()
    }


def test_buttons_are_called_as_the_notice_calls_them() -> None:
    """It sends people here: to a menu's entry and to two buttons."""
    for lang in ("en", *LANGUAGES):
        says = notice(lang)["step_3"] + notice(lang)["own"] + notice(lang)["mail_page"]
        named = catalogue(lang) if lang != "en" else {text: text for text in texts()}
        for text in ("Mail filter", "I have cleaned this device", "This is my mail server"):
            assert named[text].lower() in says.lower(), (lang, text)
