"""From the notice to a clean device: the stages of each episode of a case, and what only time shows. Pure.

Knows the history of a case (history.fold). Must not know tables. `docs/collector.md` defines the stages:

    notified  (told_at) by any channel of history.CHANNELS
    seen      the notice was opened in the home, at the device or at another one
    answered  there
    clean     its last finding, once `days` without another were observed
    relapsed  the first finding after these

A finding is evidence of an incident of a compromised device. No finding says something only while the router reports,
so days count up to when it was last heard. What was observed is kept as actions of the user `collector`, because the
incident of a device that sends again overwrites it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from cpe_filter.collect.cases.history import (
    ACTIVE,
    CHANNELS,
    COLLECTOR,
    QUIET,
    RELAPSED,
    Action,
    Episode,
    History,
)

DAY = 86_400
#: [cases] clean_days, where nothing else is known.
CLEAN_DAYS = 14
#: The mark in the store that holds [cases] clean_days, for processes that do not know the configuration.
MARK = "clean days"
#: Incidents that ended so say nothing about the device afterwards.
_UNKNOWN = ("exempt", "merged")


class Clean(NamedTuple):
    """Of an episode, see the module. None: not, or not yet."""

    since: int | None
    relapsed_at: int | None


class Watch(NamedTuple):
    """until: when the router was last heard, at most now. days: as configured."""

    until: int
    days: int = CLEAN_DAYS


def clean(folded: History, actions: Iterable[Action], watch: Watch) -> list[Clean]:
    """For each episode, in their order."""
    episodes = folded.episodes
    facts = _facts(episodes, actions)
    relapses = sorted(action.at for action in actions if action.kind == RELAPSED)
    out = []
    for place, episode in enumerate(episodes):
        following = episodes[place + 1].begun_at if place + 1 < len(episodes) else None
        last = _last(episode, following)
        if any(why in _UNKNOWN for why in (episode.why, episode.ended[1] if episode.ended else None)):
            out.append(Clean(None, None))
        elif place in facts:
            since, quiet_until = facts[place]
            after = [at for at in relapses if at >= quiet_until and (following is None or at < following)]
            went_on = after[0] if after else last if last >= quiet_until else following
            out.append(Clean(since, went_on))
        else:
            end = max(watch.until, last) if following is None else following
            is_clean = end - last >= watch.days * DAY
            out.append(Clean(last if is_clean else None, following if is_clean else None))
    return out


def _last(episode: Episode, following: int | None) -> int:
    """The last finding of an episode; an incident may go on in the next one."""
    last = max(episode.begun_at, episode.last_at)
    return last if following is None else min(last, following)


def _facts(episodes: list[Episode], actions: Iterable[Action]) -> dict[int, tuple[int, int]]:
    """The first time that each episode was observed to be quiet: since, until. News that came late may refute it."""
    findings = {one.begun_at for one in episodes} | {one.last_at for one in episodes}
    out: dict[int, tuple[int, int]] = {}
    for action in sorted(actions, key=lambda one: one.at):
        if action.kind != QUIET or not action.text.isdecimal():
            continue
        since, until = action.at - int(action.text) * DAY, action.at
        owner = max((place for place, one in enumerate(episodes) if one.begun_at <= since), default=None)
        if owner is not None and not any(since < at < until for at in findings):
            out.setdefault(owner, (since, until))
    return out


def observed(case: str, folded: History, actions: Iterable[Action], watch: Watch) -> list[Action]:
    """What is new to the collector: actions to be kept, each with an id that is always the same."""
    found = clean(folded, actions, watch)[-1]
    known = [action for action in actions if action.user == COLLECTOR]
    last = max(folded.episodes[-1].begun_at, folded.episodes[-1].last_at)
    new = []
    if found.since is not None:
        until = found.since + watch.days * DAY
        quiet = [action.at for action in known if action.kind == QUIET and action.at > found.since]
        if not quiet:
            new.append(_action(case, QUIET, until, str(watch.days)))
        elif found.relapsed_at is not None and not any(one.kind == RELAPSED and one.at >= quiet[0] for one in known):
            new.append(_action(case, RELAPSED, last, ""))
    return new


def _action(case: str, kind: Any, at: int, text: str) -> Action:
    number = hashlib.sha256(json.dumps([case, kind, at]).encode()).hexdigest()[:16]
    return Action(number, at, COLLECTOR, kind, text, frozenset())


# ── columns ─────────────────────────────────────────────────────────────────────────────────────


def episode_columns(episode: Episode, found: Clean) -> dict[str, Any]:
    """Columns of desk_episode (migrations/0008_funnel.sql)."""
    return {
        **{f"told_{channel}_at": episode.told.get(channel) for channel in CHANNELS},
        **_stages(episode),
        "clean_since": found.since,
        "relapsed_at": found.relapsed_at,
        "last_at": max(episode.begun_at, episode.last_at),
        "outcome": episode.outcome,
    }


def case_columns(folded: History, found: list[Clean]) -> dict[str, Any]:
    """The same of desk_case, which has those of its latest episode."""
    last, before = folded.episodes[-1], found[-2] if len(found) > 1 else Clean(None, None)
    return {
        **_stages(last),
        "told_by": " ".join(channel for _, channel in sorted((at, channel) for channel, at in last.told.items())),
        "objection": int(folded.state in ACTIVE and is_objection(last)),
        "clean_since": found[-1].since,
        "relapsed_at": found[-1].relapsed_at if found[-1].relapsed_at is not None else before.relapsed_at,
    }


def is_objection(episode: Episode) -> bool:
    """Whether people object, and the desk has not decided since."""
    if episode.objected_at is None:
        return False
    return episode.decided_at is None or episode.decided_at < episode.objected_at


def _stages(episode: Episode) -> dict[str, Any]:
    seen = {"device": episode.seen_device_at, "home": episode.seen_home_at}
    times = [at for at in seen.values() if at is not None]
    return {
        "told_at": min(episode.told.values(), default=None),
        "seen_at": min(times, default=episode.answered_at),
        "seen_by": " ".join(name for name, at in seen.items() if at is not None),
        "answered_at": episode.answered_at,
        "answer": episode.answer,
    }
