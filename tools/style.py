"""A check of the language: `python -m tools.style`. Plain technical English in all that a person reads.

Reads the documentation, and of programs the comments, docstrings and messages, not the code. Each pattern has a limit
in `style.json`: as often it may occur. A limit may only fall (`--tighten` lowers each to what is there).

Exit status: 0 where no pattern occurs more often than its limit, else 1.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[1]
LIMITS = Path(__file__).with_suffix(".json")
#: What is read: programs and documentation.
FILES = ("cpe_filter/**/*.py", "openwrt/**/*.py", "*.md", "docs/**/*.md", "openwrt/**/*.md")
#: Other languages, and the one file that has to name what is banned.
EXCEPT = re.compile(r"cpe_filter/texts/(de|nl|tr)\.py")


class Pattern(NamedTuple):
    """What is not to be written, what to write, and sentences that it has to find and to leave alone."""

    name: str
    expression: str
    instead: str
    finds: str
    leaves: str


PATTERNS = (
    Pattern(
        "is no X",
        r"(?<!there )\b(?:is|are|was|were) no (?!longer|more|less|such|matter|other|better|worse)\w+",
        "is not a X",
        "until is no time",
        "there is no table; it is no longer used",
    ),
    Pattern(
        "over",
        r"\b(?:is|are|was|were|be|been) over\b(?! [\d\w])",
        "expired, finished, closed",
        "The exemption is over.",
        "mail is over TCP; over 5 seconds",
    ),
    Pattern("beside", r"\bbeside\b", "next to, besides, with", "the file beside it", "besides that"),
    Pattern("as a whole", r"\bas a whole\b", "complete, entire", "not installed as a whole", "the whole file"),
    Pattern("by itself", r"\bby (?:itself|themselves)\b", "alone, separately", "an ACK by itself", "it names itself"),
    Pattern("anew", r"\banew\b", "again", "started anew", "a new one"),
    Pattern("for ever", r"\bfor ever\b", "never (expires), permanently", "valid for ever", "forever"),
    Pattern("whom", r"\b[Ww]hom\b", "which, that", "from whom it came", "the host that sent it"),
    Pattern("told", r"\b(?:tells|told)\b", "reports, reported, logged", "it is told once", "tell apart"),
    Pattern("said", r"\bsaid\b", "reported, logged, sent", "nothing is said", "says"),
    Pattern("wanted", r"\b(?<!un)wanted\b", "expected, required", "A form is wanted.", "unwanted mail"),
    Pattern("goes by", r"\b(?:goes|go|went) by\b", "uses", "it goes by the name", "as time passes"),
    Pattern(
        "opens with Of or By",
        r"(?:(?<=^)|(?<=[.!?] )|(?<=# )|(?<=: ))(?:Of|By) (?!course|default|the way|hand)[a-z]+",
        "subject, verb, object",
        "Of a client's packets few are seen.",
        "Most of a client's packets. By default none.",
    ),
    Pattern(
        "somebody",
        r"\b(?:[Ss]ome|[Aa]ny|[Nn]o|[Ee]very)body\b",
        "a user, another program",
        "somebody reads it",
        "a user",
    ),
    Pattern("lets be", r"\blets? \w+ be\b", "leaves alone", "lets mail be", "let it pass"),
    Pattern("has to be", r"\bis to be\b|\bare to be\b", "must be, will be", "what is to be done", "must be done"),
    Pattern(
        "stands there",
        r"\bstands? (?:there|in|for|before|behind)\b",
        "is in, means",
        "it stands in the file",
        "standing",
    ),
    Pattern(
        "as in English of 1900",
        r"\b(?:thereby|wherein|whereby|hitherto|henceforth|nought|lest|amongst|whilst|upon which|of its own accord)\b",
        "a shorter word",
        "whereby it ends",
        "where it ends",
    ),
    Pattern(
        "needs nobody", r"\bas (?:well )?(?:one|they) (?:please|like)s?\b", "arbitrary", "as they please", "as they are"
    ),
)
COMPILED = {pattern.name: re.compile(pattern.expression, re.MULTILINE) for pattern in PATTERNS}


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of what a person reads in a file."""
    text = path.read_text()
    if path.suffix != ".py":
        yield from enumerate(
            re.sub(r"```.*?```", lambda found: "\n" * found[0].count("\n"), text, flags=re.DOTALL).split("\n"), 1
        )
        return
    words = (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in words and " " in token.string:
            yield from enumerate(token.string.split("\n"), token.start[0])


def found(text: str) -> Iterator[str]:
    """The names of the patterns in a line, each as often as it occurs."""
    plain = re.sub(r"`[^`]*`", "`x`", text)  # names in code are what they are
    for name, expression in COMPILED.items():
        yield from [name] * len(expression.findall(plain))


def occurrences() -> Iterator[tuple[str, str, int, str]]:
    """(pattern, path, line, text) of all of them."""
    paths = sorted({path for glob in FILES for path in PROJECT.glob(glob)})
    for path in paths:
        place = path.relative_to(PROJECT).as_posix()
        if not EXCEPT.fullmatch(place) and not place.startswith((".", "build/")):
            for line, text in prose(path):
                for name in found(text):
                    yield name, place, line, text.strip()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.style", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tighten", action="store_true", help="lower each limit to what is there")
    parser.add_argument("--show", metavar="PATTERN", help="list where a pattern occurs")
    options = parser.parse_args(argv)
    limits: dict[str, int] = json.loads(LIMITS.read_text())
    all_ = list(occurrences())
    counts = Counter(name for name, *_ in all_)
    if options.show:
        for name, place, line, text in all_:
            if name == options.show:
                print(f"{place}:{line}: {text}")
        return 0
    if options.tighten:
        limits = {
            pattern.name: min(counts[pattern.name], limits.get(pattern.name, sys.maxsize)) for pattern in PATTERNS
        }
        LIMITS.write_text(json.dumps(limits, indent=4) + "\n")
    failed = False
    for pattern in PATTERNS:
        limit = limits.get(pattern.name, 0)
        if counts[pattern.name] > limit:
            failed = True
            print(f"{pattern.name!r}: {counts[pattern.name]} times, allowed are {limit}; write: {pattern.instead}")
            print(f"    python -m tools.style --show {pattern.name!r} lists them")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
