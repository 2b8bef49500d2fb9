"""Named tuples from annotations, as typing.NamedTuple makes them.

Knows tuples. Must not know what is in one. Saves 1180 kB (`typing`, most of it for `re`). The classes share their
methods, where each of collections.namedtuple has its own: of the 39 classes that `run` loads that is 150 kB. Type
checkers see the class of typing, so its rules are checked there.
"""

from __future__ import annotations

__all__ = ["NamedTuple"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from _collections import _tuplegetter

    class _Tuple(tuple):
        """What all named tuples have in common; `_fields` are the class's."""

        __slots__ = ()

        @classmethod
        def _make(cls, iterable):
            made = tuple.__new__(cls, iterable)
            if len(made) != len(cls._fields):
                raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
            return made

        def _replace(self, /, **changes):
            made = self._make(map(changes.pop, self._fields, self))
            if changes:
                raise TypeError(f"Got unexpected field names: {list(changes)!r}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            values = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__name__}({values})"

        def __getnewargs__(self):
            return tuple(self)

    #: Where the functions that make tuples find their names.
    _GLOBALS = {"new": tuple.__new__, "__builtins__": {}, "__name__": __name__}

    class _Maker(type):
        """The class of `NamedTuple`: a class statement with that as its base calls this, and gets a tuple's class."""

        def __new__(cls, name, bases, body):
            fields = tuple(body.pop("__annotations__", ()))
            defaults = {field: body.pop(field) for field in fields if field in body}
            # As in collections: called in C's way, with the fields' names as parameters.
            names = ", ".join(fields)
            made = eval(f"lambda _cls, {names}: new(_cls, ({names},))", _GLOBALS)  # noqa: S307
            made.__name__ = "__new__"
            made.__defaults__ = tuple(defaults.values())
            body["__slots__"] = ()
            body["__new__"] = made
            body["_fields"] = body["__match_args__"] = fields
            body["_field_defaults"] = defaults
            for number, field in enumerate(fields):
                body[field] = _tuplegetter(number, "")
            return type(name, (_Tuple,), body)

    NamedTuple = type.__new__(_Maker, "NamedTuple", (), {})
