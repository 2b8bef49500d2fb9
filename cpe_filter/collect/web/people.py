"""The users that a case can be assigned to, as a field of a form.

Knows names of users. Must not know what they may do. A name from a form is checked by who reads the form.
"""

from __future__ import annotations

from collections.abc import Sequence

from cpe_filter.collect.web.access import Person
from cpe_filter.collect.web.layout import attribute, choose, option

#: The value for no one, which is not the name of a user.
NOBODY = "-"


def assignees(person: Person, people: Sequence[str], chosen: str) -> str:
    """The field: a list of the known users, or else a name."""
    if people:
        first = [person.name] if person.name in people else []
        others = [name for name in people if name not in first]
        names = [(NOBODY, "no one"), *((name, option(name)) for name in (*first, *others))]
        return choose("assignee", "Assign to", names, chosen or (first or [NOBODY])[0])
    return (
        '<div><label for="f-assignee">Assign to (empty: no one)</label><input id="f-assignee" name="assignee" '
        f'value="{attribute(chosen or person.name)}" maxlength="64"></div>'
    )
