"""The app's texts: what its sources say (`_('...')`, titles of menu and ACL), the template of it, and the translations.

`python -m tests.openwrt.luci_po` writes po/templates/cpe-filter.pot again. Like LuCI's own scan it also takes the
menu's titles and the ACL's descriptions.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.openwrt.luci_router import APP

TEMPLATE = APP / "po" / "templates" / "cpe-filter.pot"
LANGUAGES = ("de", "nl", "tr")
#: A call of `_`, and the literal in it, which has to be one in single quotes.
_CALL = re.compile(r"(?<![\w.$])_\(\s*")
_LITERAL = re.compile(r"'((?:[^'\\\n]|\\.)*)'\s*\)")
_HEADER = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8"\n'


class TranslationError(ValueError):
    """A text that no scan would find; says where."""


def texts() -> dict[str, list[str]]:
    """By text, where it stands: `path:line` within the app, in the order of the sources. Raises `TranslationError`."""
    found: dict[str, list[str]] = {}
    for path in sorted(APP.rglob("*.js")):
        for text, line in _in_script(path):
            found.setdefault(text, []).append(f"{path.relative_to(APP)}:{line}")
    for path in sorted((APP / "root").rglob("*.json")):
        source = path.read_text()
        for node in json.loads(source).values():
            text = node.get("title") or node.get("description")
            line = source[: source.index(json.dumps(text))].count("\n") + 1
            found.setdefault(text, []).append(f"{path.relative_to(APP)}:{line}")
    return found


def _in_script(path: Path) -> list[tuple[str, int]]:
    source = path.read_text()
    out = []
    for call in _CALL.finditer(source):
        literal = _LITERAL.match(source, call.end())
        line = source[: call.start()].count("\n") + 1
        if literal is None:
            raise TranslationError(f"{path.name}:{line}: _() takes one text in single quotes")
        text = re.sub(r"\\(.)", r"\1", literal[1])
        if text != " ".join(text.split()) or re.search(r"[<>&]", text):
            raise TranslationError(f"{path.name}:{line}: spaces at the ends or doubled, or signs of HTML: {text!r}")
        out.append((text, line))
    return out


def template() -> str:
    """What the template has to be."""
    entries = [
        "".join(f"#: {place}\n" for place in places) + f'msgid {_quoted(text)}\nmsgstr ""\n'
        for text, places in sorted(texts().items())
    ]
    return "\n".join([_HEADER, *entries])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse(source: str) -> dict[str, str]:
    """A .po file of one-line texts, by msgid; its header is the empty one's."""
    pairs = re.findall(r'^msgid "((?:[^"\\]|\\.)*)"\nmsgstr "((?:[^"\\]|\\.)*)"$', source, re.MULTILINE)
    if len(pairs) != source.count("msgid "):
        raise TranslationError("a text of more than one line, or one twice")
    plain = [(re.sub(r"\\(.)", r"\1", text), re.sub(r"\\(.)", r"\1", said)) for text, said in pairs]
    if len(dict(plain)) != len(plain):
        raise TranslationError("a text twice")
    return dict(plain)


def catalogue(lang: str) -> dict[str, str]:
    """A language's translations."""
    found = parse((APP / "po" / lang / "cpe-filter.po").read_text())
    return {text: said for text, said in found.items() if text and said}


if __name__ == "__main__":
    TEMPLATE.write_text(template())
