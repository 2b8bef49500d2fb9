"""Pages of actions on many cases: the one that asks what to do and why, the result, and the list of the latest.

Knows batches and how they are shown. Must not know HTTP or SQL. Strings of subscribers and people are hostile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from cpe_filter.collect.cases import bulk, history
from cpe_filter.collect.cases.actions import MAX_TEXT
from cpe_filter.collect.cases.bulk import Batch, Order
from cpe_filter.collect.cases.model import Case
from cpe_filter.collect.web.access import Person
from cpe_filter.collect.web.casefile import lines
from cpe_filter.collect.web.caselist import cells
from cpe_filter.collect.web.layout import attribute, choose, form, link, listing, when
from cpe_filter.collect.web.people import assignees
from cpe_filter.texts.html import Column, count, note, shown

#: Cases that the page that asks shows.
_SHOWN = 25
#: What an action is called, before and after it is done.
_NAMES = {
    "assign": "Assign",
    "mail": "Send the notice by e-mail",
    "acknowledge": "Acknowledge",
    "notified": "Mark as notified",
    "confirm": "Close as confirmed",
    "false-alarm": "Close as false alarm",
    "close": "Close without a finding",
    "reopen": "Reopen",
    "note": "Add a note",
}


def ask(
    batch: Batch, found: Mapping[str, Case], person: Person, people: Sequence[str], with_mail: bool, now: int
) -> str:
    """The page that asks what to do with a draft. found: its cases, by id. people: users that cases can be
    assigned to; none: any name."""
    counts = Counter(case.state for case in found.values())
    states = ", ".join(f"{counts[state]:,} {state}" for state in history.STATES if counts[state])
    gone = len(batch.items) - len(found)
    if gone:
        states += f"; {count(gone, 'case')} no longer there"
    names = [(name, _NAMES[name]) for name in bulk.ACTIONS if name != bulk.MAIL or with_mail]
    needed = ", ".join(_NAMES[name].lower() for name in bulk.WITH_REASON)
    body = (
        '<div class="filter">'
        + choose("action", "Action", [("", "choose"), *names], "")
        + assignees(person, people, "")
        + "</div>"
        + f'<label class="apart" for="reason">Reason, saved in the history of each case (required to {needed})</label>'
        f'<textarea id="reason" name="reason" maxlength="{MAX_TEXT}" rows="3"></textarea>'
        f'<div class="acts"><button class="main">Do it on {count(len(batch.items), "case")}</button>'
        f'<a class="button" href="{attribute(_back(batch))}">Cancel</a></div>'
    )
    shown_cases = [found[item.case] for item in batch.items if item.case in found][:_SHOWN]
    rows = [("", cells(case, now)[:5]) for case in shown_cases]
    columns = [Column("Case"), Column("State"), Column("Subscriber"), Column("Assigned to")]
    columns.append(Column("Last seen", "n"))
    caption = "All of them" if len(rows) == len(batch.items) else f"The first {len(rows)} of {len(batch.items):,}"
    if batch.query:
        chosen = "All that match the filter. If others match it by then, nothing is done, and you see which."
    else:
        chosen = "Those that you have chosen."
    return (
        f'<p class="back"><a href="{attribute(_back(batch))}">Back to the list</a></p>'
        f'<h1>Act on {count(len(batch.items), "case")}</h1><p class="lead">{chosen} {states}.</p>'
        f'<section class="card"><h2>What, and why</h2>{form(link(f"/bulk/{batch.id}", {}), person, body)}</section>'
        f'<section class="card cases"><h2>Cases</h2>{listing(caption, columns, rows)}</section>'
    )


def changed(batch: Batch, now_match: Sequence[str], person: Person) -> str:
    """The page that refuses a draft whose filter matches other cases now, and shows the difference."""
    before = [item.case for item in batch.items]
    parts = [
        f'<p class="back"><a href="{attribute(_back(batch))}">Back to the list</a></p>'
        '<h1>Nothing was done: other cases match now</h1><p class="lead">The filter matched '
        f"{count(len(before), 'case')} when you chose them, and matches "
        f"{f'more than {bulk.MAX_CASES:,}' if len(now_match) > bulk.MAX_CASES else f'{len(now_match):,}'} now.</p>"
    ]
    for title, numbers in (
        ("These match now, too", sorted(set(now_match) - set(before))),
        ("These match no longer", sorted(set(before) - set(now_match))),
    ):
        if numbers:
            items = "".join(f"<li>{_case(number)}</li>" for number in numbers[:_SHOWN])
            more = f'<p class="note">and {len(numbers) - _SHOWN:,} more</p>' if len(numbers) > _SHOWN else ""
            parts.append(f'<section class="card"><h2>{title}</h2><ul class="drop">{items}</ul>{more}</section>')
    if 0 < len(now_match) <= bulk.MAX_CASES:
        again = (
            f'<input type="hidden" name="query" value="{attribute(batch.query)}">'
            '<input type="hidden" name="which" value="all">'
            f'<button class="main">Act on the {count(len(now_match), "case")} that match now</button>'
        )
        parts.append(form("/bulk", person, again))
    return "".join(parts)


def result(batch: Batch, person: Person, now: int) -> str:
    """What became of a batch that was confirmed."""
    order = batch.order or Order("")
    done, refused, waiting = (batch.of(state) for state in (bulk.DONE, bulk.REFUSED, bulk.WAITING))
    cut = batch.is_interrupted(now)
    title = f"{len(done):,} of {count(len(batch.items), 'case')} done"
    if cut:
        how = f"Interrupted: {count(len(waiting), 'case')} not done."
    elif waiting:
        how = f"Under way: {count(len(waiting), 'case')} left. Reload the page."
    else:
        how = f"{count(len(refused), 'case')} not done." if refused else "Nothing was left out."
    facts = [
        ("Action", _named(order)),
        ("By", shown(batch.made_by, 64)),
        ("Begun", when(batch.begun_at)),
        ("Ended", when(batch.done_at)),
    ]
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    reason = f'<p class="text">{lines(order.reason)}</p>' if order.reason else ""
    parts = [
        f'<p class="back"><a href="{attribute(_back(batch))}">Back to the list</a></p><h1>{title}</h1>'
        f'<p class="lead" role="status">{how}</p>'
        f'<section class="card"><dl class="facts">{rows}</dl>{reason}'
        f"{_rest(batch, person) if cut and person.may_act and person.name == batch.made_by else ''}</section>"
    ]
    for heading, items in (("Not done", refused), ("Waiting", waiting), ("Done", done)):
        if items:
            body = "".join(f"<li>{_case(item.case)}{_why(item.why)}</li>" for item in items)
            parts.append(f'<section class="card"><h2>{heading}</h2><ul class="drop">{body}</ul></section>')
    return "".join(parts)


def _rest(batch: Batch, person: Person) -> str:
    path = link(f"/bulk/{batch.id}/rest", {})
    return form(
        path,
        person,
        '<div class="acts"><button class="main" name="do" value="again">Act on the cases that were not done</button>'
        '<button name="do" value="leave">Leave them</button></div>',
    )


def overview(batches: Sequence[tuple[Batch, Mapping[str, int]]]) -> str:
    """The latest actions on many cases, of all users."""
    if not batches:
        body = '<p class="none">None yet.</p>'
    else:
        columns = [Column("Begun", "nowrap"), Column("Action"), Column("By"), Column("Cases", "n"), Column("Done", "n")]
        columns += [Column("Not done", "n"), Column("Left", "n")]
        rows = [
            (
                "",
                [
                    f'<a href="{link(f"/bulk/{batch.id}", {})}">{when(batch.begun_at)}</a>',
                    _named(batch.order or Order("")),
                    shown(batch.made_by, 64),
                    f"{sum(counts.values()):,}",
                    *(f"{counts[state]:,}" for state in (bulk.DONE, bulk.REFUSED, bulk.WAITING)),
                ],
            )
            for batch, counts in batches
        ]
        body = listing("The latest first", columns, rows)
    return f'<h1>Actions on many cases</h1><section class="card">{body}</section>'


def _named(order: Order) -> str:
    name = _NAMES.get(order.action, shown(order.action))
    if order.action == bulk.ASSIGN:
        return f"{name} to {shown(order.assignee, 64) if order.assignee else 'no one'}"
    return name


def _case(number: str) -> str:
    return f'<a class="code" href="{link(f"/cases/{number}", {})}">{shown(number)}</a>'


def _why(why: str) -> str:
    return note(shown(why, 200)) if why else ""


def _back(batch: Batch) -> str:
    return f"/cases?{batch.query}" if batch.query else "/cases"
