"""A finding: one line of what doctor prints. Must not know how it was found."""

from __future__ import annotations

from typing import Literal, NamedTuple

from cpe_filter.lean.log_output import one_line

State = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """thing: what was looked at, a few words. text: what was found, and for warn and fail what to do."""

    state: State
    thing: str
    text: str

    def line(self) -> str:
        """Without anything that a terminal would obey: names of files and answers of peers are in it."""
        return one_line(f"{self.state:<4}  {self.thing:<22}  {self.text}")


def ok(thing: str, text: str) -> Finding:
    return Finding("ok", thing, text)


def warn(thing: str, text: str) -> Finding:
    return Finding("warn", thing, text)


def fail(thing: str, text: str) -> Finding:
    return Finding("fail", thing, text)
