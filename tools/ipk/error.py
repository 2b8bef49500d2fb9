"""The error of this room: one line for people. Knows nothing."""

from __future__ import annotations


class RecipeError(Exception):
    """A recipe, or what it needs, is not as it must be; the text says what."""
