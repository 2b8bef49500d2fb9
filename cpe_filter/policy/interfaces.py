"""Names of interfaces in the policy: each is a name, or with a trailing * the beginning of names (`ppp*`).

Pure: must not know which interfaces there are. The ruleset has the same patterns, in nft's language.
"""

from __future__ import annotations

from collections.abc import Iterable


def is_pattern(name: str) -> bool:
    return name.endswith("*")


def matches(interface: str, names: Iterable[str]) -> bool:
    """Whether an interface has one of these names."""
    return any(interface.startswith(name[:-1]) if is_pattern(name) else interface == name for name in names)


def overlap(one: str, other: str) -> bool:
    """Whether an interface could have both names."""
    if is_pattern(one) and is_pattern(other):
        return one.startswith(other[:-1]) or other.startswith(one[:-1])
    return matches(one, (other,)) or matches(other, (one,))


def distinct(names: Iterable[str]) -> list[str]:
    """The names without those that a pattern among them covers, each once."""
    once = list(dict.fromkeys(names))
    patterns = [name for name in once if is_pattern(name)]
    return [name for name in once if not any(name != one and name.startswith(one[:-1]) for one in patterns)]
