"""Named tuples from annotations, as typing.NamedTuple makes them.

Knows how a tuple's class is made. `typing` takes 1.1 MB, because of `re` and its imports: an eighth of a bare
interpreter. collections.namedtuple makes new methods for each class, which takes 2.8 kB and 0.2 ms more than to share
them; the filter has thirty such classes. Type checkers see typing's own class and check its rules.
"""

from __future__ import annotations

__all__ = ["NamedTuple"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from _collections import _tuplegetter  # as in collections

    class _Tuple(tuple):
        """What all of them have, by the names of namedtuple."""

        __slots__ = ()

        @classmethod
        def _make(cls, iterable):
            made = tuple.__new__(cls, iterable)
            if len(made) != len(cls._fields):
                raise TypeError(f"{cls.__name__} has {len(cls._fields)} fields, not {len(made)}")
            return made

        def _replace(self, /, **changed):
            made = self._make(map(changed.pop, self._fields, self))
            if changed:
                raise ValueError(f"{type(self).__name__} has no field {next(iter(changed))!r}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            fields = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__name__}({fields})"

        def __getnewargs__(self):  # for pickle and copy
            return tuple(self)

    class _Maker(type):
        """The class of `NamedTuple`: a class statement with that as its base calls this, and gets a tuple's class."""

        def __new__(cls, name, bases, body):
            fields = tuple(body.get("__annotations__", ()))
            defaults = {field: body[field] for field in fields if field in body}
            names = ", ".join(fields)
            # Positional and keyword arguments, checked, at a call's price: only a function with these names has that.
            new = eval(f"lambda _cls, {names}: _new(_cls, ({names},))", {"_new": tuple.__new__})  # noqa: S307
            new.__name__ = "__new__"
            new.__defaults__ = tuple(defaults.values())
            body |= {field: _tuplegetter(place, None) for place, field in enumerate(fields)}
            body |= {"__new__": new, "__slots__": (), "__match_args__": fields}
            body |= {"_fields": fields, "_field_defaults": defaults}
            return type(name, (_Tuple,), body)

    NamedTuple = type.__new__(_Maker, "NamedTuple", (), {})
