"""Whether to halt the current document of a channel, for a command: the page's verdict as one line.

Knows figures of `figures` and the verdict of `spread`. Must not know arguments, keys or what a halt does.
"""

from __future__ import annotations

from cpe_filter.collect.rollout.figures import compute
from cpe_filter.collect.rollout.spread import HALT, Spread, Terms, wilson
from cpe_filter.collect.store.base import Store


async def advice(store: Store, terms: Terms, channel: str, now: int) -> tuple[bool, str]:
    """Whether a halt is advised, and the line that says why or why not. Raises `StoreError`."""
    found = await compute(store, terms, now)
    for one in found.documents:
        if one.is_current and one.channel == channel:
            return one.verdict(terms.halt_at) == HALT, _line(one, terms)
    return False, f"channel {channel}: {found.problem or 'nothing is published'}"


def _line(one: Spread, terms: Terms) -> str:
    by = one.judged(terms.halt_at)
    low, high = (100 * share for share in wilson(by.failed, by.answered))
    advised = "advised" if by.verdict(terms.halt_at) == HALT else "not advised"
    return (
        f"{by.type} {by.sequence}: {by.failed:,} of {by.answered:,} routers that answered took it back or refused it"
        f" (95 %: {low:.1f} to {high:.1f} %, [provision] halt_at {terms.halt_at} %): a halt is {advised}"
    )
