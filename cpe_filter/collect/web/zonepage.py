"""The page on which a user chooses a time zone, for this browser.

Knows the form. Must not know cookies.
"""

from __future__ import annotations

from cpe_filter.collect.web import zone
from cpe_filter.collect.web.access import Person
from cpe_filter.collect.web.layout import ZONE_PATH, choose, form
from cpe_filter.texts.html import shown

#: The name of the field.
ZONE = "zone"


def page(person: Person, desk: str) -> str:
    """desk: the zone of the configuration."""
    choices = [("", f"that of the desk: {desk}"), *((name, name) for name in zone.known())]
    chosen = zone.name() if zone.name() != desk else ""
    body = f'{choose(ZONE, "Time zone", choices, chosen)}<div class="acts"><button class="main">Save</button></div>'
    return (
        f'<h1>Time zone</h1><p class="lead">Times and days on these pages, in this browser. They are now those of '
        f"{shown(zone.name())}. Exports always have UTC.</p>"
        f'<section class="card">{form(ZONE_PATH, person, body)}</section>'
    )


def is_known(name: str) -> bool:
    """Whether it may be chosen; "" is the desk's."""
    return name == "" or name in zone.known()
