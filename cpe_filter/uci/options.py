"""Options that belong to the service and to no table of the policy: read, and checked, with errors in UCI's names.

Knows kinds of values. Must not know what any of them is for.
"""

from __future__ import annotations

from cpe_filter.inputs import shown
from cpe_filter.uci.export import FLAGS, Section

#: Characters of an address or a path.
_LONGEST = 1024
_MOST_DIGITS = 5


class OptionError(ValueError):
    """An option that cannot be used; the text names it, and what is allowed."""


class Options:
    """A section of one kind. Raises `OptionError`, as all here. known: its options. lists: those that may be a list."""

    def __init__(self, section: Section, known: tuple[str, ...], lists: tuple[str, ...] = ()) -> None:
        self._section, self._place = section, f"cpe-filter.{section.kind}"
        for option, value in section.options.items():
            if option not in known:
                raise OptionError(f"{self._place}.{option}: unknown option; known: {' '.join(known)}")
            if isinstance(value, list) and option not in lists:
                raise OptionError(f"{self._place}.{option} is a list; expected one value")

    def flag(self, option: str, default: bool) -> bool:
        text = self._section.text(option)
        if text and text not in FLAGS:
            raise self.error(option, text, "0, 1")
        return self._section.flag(option, default)

    def number(self, option: str, default: int, allowed: tuple[int, int], unit: str) -> int:
        text = self._section.text(option)
        least, most = allowed
        digits = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
        if text and not (digits and least <= int(text) <= most):
            raise self.error(option, text, f"a whole number from {least} to {most} ({unit})")
        return int(text or default)

    def text(self, option: str, most: int) -> str:
        """Printable ASCII without spaces around it; "" if it is not set."""
        text = self._section.text(option)
        if text and not (is_plain(text, most) and text == text.strip()):
            raise self.error(option, text, f"1 to {most} printable ASCII characters")
        return text

    def path(self, option: str, of: str) -> str:
        """of: what is in the file, for the error. "" if it is not set."""
        text = self._section.text(option)
        if text and not (text.startswith("/") and is_plain(text, _LONGEST)):
            raise self.error(option, text, f"the path of {of}")
        return text

    def urls(self, option: str, most: int) -> tuple[str, ...]:
        """https, with a host."""
        found = self._section.words(option)
        if len(found) > most:
            raise OptionError(f"{self._place}.{option} has {len(found)} addresses; allowed: at most {most}")
        for url in found:
            if not is_plain(url, _LONGEST) or not url.startswith("https://") or not url[8:].partition("/")[0]:
                raise self.error(option, url, "https://HOST/PATH")
        return tuple(found)

    def error(self, option: str, value: str, allowed: str) -> OptionError:
        return OptionError(f"{self._place}.{option} is {shown(value)}; allowed: {allowed}")


def is_plain(text: str, most: int) -> bool:
    """Whether it is printable ASCII, of 1 to so many characters."""
    return 0 < len(text) <= most and text.isascii() and text.isprintable()
