"""The list of cases: its filter and pages, the choice of cases to act on, filters that are saved, and the export.

Knows the filter and how cases are shown. Must not know HTTP or SQL. Strings of subscribers and routers are hostile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from cpe_filter.collect.cases import bulk, query, saved
from cpe_filter.collect.cases.history import ACTIVE, STATES, State
from cpe_filter.collect.cases.model import STAGES, Case, Filter, Listed
from cpe_filter.collect.cases.needs import NEEDS
from cpe_filter.collect.cases.query import ORDERS
from cpe_filter.collect.cases.saved import Saved
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.users import NAME
from cpe_filter.collect.web import makers
from cpe_filter.collect.web.access import Person
from cpe_filter.collect.web.layout import attribute, choose, form, link, listing, option, plain, span, when, whose
from cpe_filter.detect.evidence import INDICATORS, current
from cpe_filter.texts.html import Column, code, count, note, shown

PAGE = 50
#: The last page that is shown; use the filter to find older cases.
_LAST_PAGE = 2000
_MAX_TEXT = 200
_TODO = "active"
_SORTED = {
    "oldest": "waits longest",
    "last": "last seen",
    "opened": "last opened",
    "changed": "last changed",
    "incidents": "most incidents",
    "refused": "most refused",
}
#: `assigned` in a query, besides names of users.
ME, NOBODY = "me", "nobody"
#: Fields of the form: which cases (`WHICH`: chosen, page or all), the chosen ones, those of the page, the filter.
WHICH, CHOSEN, SHOWN, QUERY = "which", "case", "shown", "query"
#: Cases of an export.
MAX_EXPORT = 50_000


class View(NamedTuple):
    """As in the URL; empty if missing. page: from 1."""

    state: str
    need: str
    assigned: str
    region: str
    model: str
    indicator: str
    text: str
    order: str
    page: int
    stage: str = ""

    def query(self) -> dict[str, str]:
        values = {**self._asdict(), "page": str(self.page) if self.page > 1 else ""}
        return {name: str(value) for name, value in values.items()}

    def saved(self) -> str:
        """The filter without its page, as in a URL."""
        values = self._replace(page=1).query()
        return urlencode({name: value for name, value in values.items() if value}, errors="replace")

    def wanted(self, me: str, answered_before: int) -> Filter:
        """me: who asks. answered_before: POSIX seconds, see `needs`."""
        assigned = {"": None, ME: me, NOBODY: ""}.get(self.assigned, self.assigned)
        return Filter(
            states=_states(self.state),
            region=self.region or None,
            model=self.model or None,
            indicator=self.indicator or None,
            text=self.text,
            assigned=assigned,
            stage=self.stage or None,
            need=self.need,
            me=me,
            answered_before=answered_before,
        )


class Context(NamedTuple):
    """answer_days: after so many days without an answer a case waits for the desk. now: POSIX seconds."""

    person: Person
    answer_days: int
    now: int

    @property
    def answered_before(self) -> int:
        return self.now - self.answer_days * 86_400


def parse(query: Mapping[str, str]) -> View:
    """What a query asks for; an invalid value counts as missing."""
    state, order, page = query.get("state", _TODO), query.get("order", ""), query.get("page", "")
    indicator = current(query.get("indicator", ""))
    need, assigned = query.get("need", ""), query.get("assigned", "")
    return View(
        state if state in (_TODO, "all", *STATES) else _TODO,
        need if need in NEEDS else "",
        assigned if NAME.fullmatch(assigned) else "",
        plain(query.get("region", ""), _MAX_TEXT),
        plain(query.get("model", ""), _MAX_TEXT),
        indicator if indicator in INDICATORS else "",
        plain(query.get("text", ""), _MAX_TEXT).strip(),
        order if order in ORDERS else "oldest" if need in NEEDS else "last",
        min(_LAST_PAGE, int(page)) if page.isascii() and page.isdecimal() and len(page) < 9 and int(page) else 1,
        query.get("stage", "") if query.get("stage", "") in STAGES else "",
    )


def _states(name: str) -> tuple[State, ...]:
    """Which states a filter selects; none means all."""
    return ACTIVE if name == _TODO else tuple(state for state in STATES if state == name)


async def page(store: Store, view: View, context: Context) -> str:
    """The page's content. Raises `StoreError`."""
    wanted = view.wanted(context.person.name, context.answered_before)
    found = await query.listed(store, wanted, view.order, (view.page - 1) * PAGE, PAGE)
    counts = await query.states(store)
    known = await query.choices(store)
    filters = await saved.listed(store, context.person.name)
    need = NEEDS.get(view.need)
    lead = ""
    if need:
        hint = need.hint.format(days=count(context.answer_days, "day"))
        lead = f'<p class="lead">{need.title}. {hint}</p>'
    return "".join(
        [
            f"<h1>Cases</h1>{lead}{links(filters)}{_filter(view, counts, known, context.person)}",
            _list(found, view, context),
            _beyond(found, view, context.person, filters),
        ]
    )


def _filter(view: View, counts: dict[str, int], known: dict[str, list[str]], person: Person) -> str:
    todo = sum(counts[state] for state in ACTIVE)
    states = [(_TODO, f"to do ({todo:,})"), *((state, f"{state} ({counts[state]:,})") for state in STATES)]
    states.append(("all", f"all ({sum(counts.values()):,})"))

    def names(of: str, chosen: str) -> list[tuple[str, str]]:
        there = known[of]
        there = [*there, chosen] if chosen and chosen not in there else there
        return [(name, option(name)) for name in there]

    needs = [("", "all"), *((need.name, need.title) for need in NEEDS.values())]
    people = [name for name in names("assignees", view.assigned) if name[0] not in (ME, NOBODY)]
    assigned = [("", "all"), (ME, f"me ({option(person.name)})"), (NOBODY, "no one"), *people]
    indicators = [("", "all"), *((name, name) for name in INDICATORS)]
    everything = ("", "all")
    return (
        '<form class="filter card loose" method="get" action="/cases" role="search" aria-label="Which cases">'
        f'<div class="wide"><label for="f-text">Text</label><input id="f-text" name="text" type="search" '
        f'value="{attribute(view.text)}" maxlength="{_MAX_TEXT}" '
        'placeholder="case, subscriber, router, device, contact, line"></div>'
        + choose("state", "State", states, view.state)
        + choose("stage", "Notice", [("", "all"), *((name, words) for name, (_, words) in STAGES.items())], view.stage)
        + choose("need", "Waits for the desk", needs, view.need)
        + choose("assigned", "Assigned to", assigned, view.assigned)
        + choose("region", "Region", [everything, *names("regions", view.region)], view.region)
        + choose("model", "Model", [everything, *names("models", view.model)], view.model)
        + choose("indicator", "Indicator", indicators, view.indicator)
        + choose("order", "Order", list(_SORTED.items()), view.order)
        + '<div class="go"><button class="main">Show</button><a href="/cases">Reset</a></div></form>'
    )


def _list(found: Listed, view: View, context: Context) -> str:
    if not found.cases:
        text = "This page is empty." if found.total else "No matching case."
        return f'<div class="card"><p class="none" role="status">{text}</p>{_pages(found, view)}</div>'
    columns = [
        Column("Case", "nowrap"),
        Column("State", "nowrap"),
        Column("Subscriber", "whose"),
        Column("Assigned to"),
        Column("Last seen", "n"),
        Column("Device", "narrow-off nowrap"),
        Column("Incidents", "n"),
        Column("Refused", "n narrow-off"),
        Column("Indicators", "narrow-off last"),
    ]
    first = (view.page - 1) * PAGE
    caption = f"{first + 1:,} to {first + len(found.cases):,} of {found.total:,}"
    rows = [("", cells(case, context.now, context.person.may_act)) for case in found.cases]
    body = listing(caption, columns, rows)
    if context.person.may_act:
        body = form("/bulk", context.person, f"{body}{_which(found, view)}", "choice")
    return f'<div class="card cases">{body}{_pages(found, view)}</div>'


def cells(case: Case, now: int, choice: bool = False) -> list[str]:
    """A case in a row of the list. choice: with a box to choose it."""
    where = [shown(text, 40) for text in (case.region, case.model) if text]
    top = sorted(case.ind, key=lambda name: -case.ind[name])
    return [
        (_box(case.id) if choice else "")
        + f'<a class="code nowrap" href="{link(f"/cases/{case.id}", {})}">{shown(case.id)}</a>',
        state(case.state) + note(_age(case, now)),
        (whose(case.subscriber, 40) if case.subscriber else f'<span class="soft">router {shown(case.router)}</span>')
        + (note(" &middot; ".join(where)) if where else ""),
        shown(case.assignee, 40) if case.assignee else '<span class="soft">no one</span>',
        when(case.last_at),
        device(case.dev, case.oui),
        f"{case.incidents:,}" + (note(f"found {case.episodes} times") if case.episodes > 1 else ""),
        f"{case.refused:,}",
        ", ".join(f"<code>{shown(name, 32)}</code>" for name in top[:2])
        + (f" and&nbsp;{len(top) - 2}&nbsp;more" if len(top) > 2 else ""),
    ]


def _age(case: Case, now: int) -> str:
    """How long a case has been open, or was."""
    if case.state in ACTIVE:
        return f"for {span(max(0, now - case.begun_at))}"
    ends = [at for at in (case.clean_at, case.closed_at) if at is not None]
    return f"after {span(max(0, min(ends) - case.begun_at))}" if ends else ""


def _box(number: str) -> str:
    value = attribute(number)
    return (
        f'<input type="checkbox" class="box" id="c-{value}" name="{CHOSEN}" value="{value}">'
        f'<label class="unseen" for="c-{value}">Choose case {shown(number)}</label>'
    )


def _which(found: Listed, view: View) -> str:
    """Which cases to act on, and the button to the page that asks for the action."""
    choices = [("chosen", "the chosen ones")]
    if len(found.cases) > 1:
        choices.append(("page", f"all {len(found.cases)} on this page"))
    more = ""
    if len(found.cases) < found.total <= bulk.MAX_CASES:
        choices.append(("all", f"all {found.total:,} that match this filter"))
    elif found.total > bulk.MAX_CASES:
        more = f'<p class="note">More than {bulk.MAX_CASES:,} match: narrow the filter to act on all.</p>'
    radios = "".join(
        f'<span class="radio"><input type="radio" id="w-{name}" name="{WHICH}" value="{name}"'
        f'{" checked" if name == "chosen" else ""}><label for="w-{name}">{text}</label></span>'
        for name, text in choices
    )
    ids = attribute(" ".join(case.id for case in found.cases))
    return (
        f'<input type="hidden" name="{QUERY}" value="{attribute(view.saved())}">'
        f'<input type="hidden" name="{SHOWN}" value="{ids}">'
        f'<fieldset class="which"><legend>Act on</legend>{radios}<button class="main">Continue</button></fieldset>'
        f'{more}<p class="note">The next page asks what to do, and why.</p>'
    )


def links(filters: Sequence[Saved]) -> str:
    """Saved filters as links."""
    if not filters:
        return ""
    items = "".join(
        f'<li><a href="{attribute(f"/cases?{one.query}")}">{option(one.name, 64)}</a>'
        f"{'' if one.owner else ' <span class=note>shared</span>'}</li>"
        for one in filters
    )
    return f'<nav class="saved" aria-label="Saved filters"><ul>{items}</ul></nav>'


def _beyond(found: Listed, view: View, person: Person, filters: Sequence[Saved]) -> str:
    """What else can be done with the filter."""
    if not person.may_act:
        return ""
    hidden = f'<input type="hidden" name="{QUERY}" value="{attribute(view.saved())}">'
    save = form(
        "/filters",
        person,
        f'{hidden}<div><label for="s-name">Name</label><input id="s-name" name="name" maxlength="{saved.MAX_NAME}" '
        'required></div><div class="radio"><input type="checkbox" id="s-shared" name="shared" value="yes">'
        '<label for="s-shared">for all users</label></div><div class="go"><button>Save this filter</button></div>',
        "filter",
    )
    if found.total > MAX_EXPORT:
        export = f"<p>More than {MAX_EXPORT:,} cases match; narrow the filter to export them.</p>"
    else:
        export = form("/cases.csv", person, f"{hidden}<button>Export {count(found.total, 'case')} as CSV</button>")
    drop = "".join(
        f"<li>{option(one.name, 64)}"
        + form(f"/filters/{one.id}/delete", person, '<button class="plain">Delete</button>', "inline")
        + "</li>"
        for one in filters
    )
    return (
        '<div class="pair"><section class="card"><h2>Save this filter</h2>'
        f'<p class="note">It becomes a link on the first page and here.</p>{save}'
        f"{f'<ul class=drop>{drop}</ul>' if drop else ''}</section>"
        '<section class="card"><h2>Export</h2><p class="note">The cases of this filter, without names of devices and '
        f"source ports. Who exports what is logged.</p>{export}</section></div>"
    )


def _pages(found: Listed, view: View) -> str:
    last = max(1, min(_LAST_PAGE, -(-found.total // PAGE)))
    if last == 1 and view.page == 1:
        return ""
    links = []
    query = view.query()
    if view.page > 1:
        back = link("/cases", query, page=str(min(view.page - 1, last)))
        links.append(f'<a class="button" rel="prev" href="{back}">Previous</a>')
    if view.page < last:
        links.append(f'<a class="button" rel="next" href="{link("/cases", query, page=str(view.page + 1))}">Next</a>')
    return (
        f'<nav class="pages" aria-label="Pages of the list"><span class="soft">Page {view.page:,} of {last:,}</span>'
        f'<span class="links">{"".join(links)}</span></nav>'
    )


def state(name: str) -> str:
    """The state of a case: a mark of its own shape, and the word. name: of history.STATES."""
    known = name if name in STATES else ""
    return f'<span class="state {known}">{shown(name)}</span>'


#: What a device is by its DHCP request (home.dhcp_class).
CLASSES = {
    "android": "Android phone, tablet or TV box",
    "apple": "iPhone, iPad or Apple TV",
    "console": "game console",
    "embedded": "small Linux device: camera, NAS, set-top box",
    "linux": "Linux computer",
    "mac": "Mac",
    "printer": "printer",
    "windows": "Windows PC",
}


def by_dhcp(kind: str) -> str:
    """A class for people. A router of another version may have a word that is not known here."""
    return f"{shown(CLASSES.get(kind, kind))} (by DHCP)"


def device(dev: str, oui: str | None) -> str:
    """A device: its pseudonym and its maker."""
    return code(dev) + (note(maker(oui)) if oui else "")


def maker(oui: str) -> str:
    """Who made a device whose MAC begins with these three bytes: by the list of makers, where there is one."""
    prefix = shown(":".join(oui[i : i + 2] for i in (0, 2, 4)))
    if makers.is_local(oui):
        return f"randomised MAC ({prefix})"
    found = makers.current().find(oui)
    if found is None:
        return f"{'maker not in the list' if makers.current().date else 'maker code'} ({prefix})"
    if not found.sharing:
        return f"{shown(found.name, makers.MAX_NAME)} ({prefix})"
    some = ", ".join(shown(name, makers.MAX_NAME) for name in found.others)
    count = f"one of {found.sharing:,} makers" if found.others else "one of several makers"
    return (
        f"{count} that share {prefix}{f': {some}' if some else ''}{' ...' if found.sharing > len(found.others) else ''}"
    )
