"""The power goes before the first change of the disk, after it, before the next one...

Knows the calls by which files are changed. Must not know what is written. `tests.provision.disk` has real processes
that are killed in the midst of a call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from cpe_filter.lean import files


class PowerCutError(Exception):
    """Instead of a change."""


@contextmanager
def power_cut(monkeypatch: pytest.MonkeyPatch, cut: int, *names: str) -> Iterator[None]:
    """After so many changes the next one raises `PowerCutError`. names: calls of `os`, besides `files.replace`."""
    changes = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def change(*arguments: object, **more: object) -> object:
            nonlocal changes
            if changes >= cut:
                raise PowerCutError
            changes += 1
            return real(*arguments, **more)

        return change

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", counted(files.replace))
        for name in names:
            patch.setattr(os, name, counted(getattr(os, name)))
        yield
