"""Named tuples from annotations, as typing.NamedTuple makes them.

Knows collections.namedtuple. Saves 1180 kB (`typing`, most of it for `re`) and takes 20 kB itself, because ipaddress
loads collections in any case. A class takes 2.8 kB more than one with shared methods would. Type checkers see the class
of typing, so its rules are checked there.
"""

from __future__ import annotations

__all__ = ["NamedTuple"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from collections import namedtuple

    class _Maker(type):
        """The class of `NamedTuple`: a class statement with that as its base calls this, and gets a tuple's class."""

        def __new__(cls, name, bases, body):
            fields = body.pop("__annotations__", {})
            defaults = [body.pop(field) for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])
            for key, value in body.items():
                setattr(made, key, value)
            return made

    NamedTuple = type.__new__(_Maker, "NamedTuple", (), {})
