"""cpe-filter-repeat under busybox's shell: when it starts a command, what it logs, and what a killed fetch leaves."""

from __future__ import annotations

import itertools
import time

import pytest

from tests.openwrt.package import Router

#: Turns of its loop, of 20 s, in a clock that each sleep moves on.
TURNS = 400


def starts(
    router: Router,
    first: int,
    code: int,
    said: str,
    every: int = 3600,
    words: str = "policy\nfetch\nhttps://x/\n",
    step: int = 20,
) -> list[int]:
    """At which uptimes it starts the command, in a simulated clock that begins at 0. said: by a shell's echo. step:
    seconds of its loop."""
    clock, done = router.root / "uptime", router.root / "done"
    clock.write_text("0.00 0.00\n")
    file = router.root / ("fetch" if words.startswith("policy") else "enrol")
    file.write_text(words)
    router.path("/usr/bin/cpe-filter").write_text(f'#!/bin/sh\ncat {clock} >>{done}\necho "{said}"\nexit {code}\n')
    (router.bin / "sleep").unlink()
    router._script(
        "sleep",
        f'read -r now _ <{clock}\nnow=$((${{now%%.*}} + $1))\necho "$now.00 0.00" >{clock}\n'
        f"[ $now -lt {TURNS * step} ] || kill $PPID",
    )
    script = router.path("/usr/libexec/cpe-filter-repeat")
    script.write_text(script.read_text().replace("/proc/uptime", str(clock)).replace("sleep 20", f"sleep {step}"))
    router.ash(script, file, str(every), str(first))
    return [int(line.split(".")[0]) for line in done.read_text().splitlines()] if done.exists() else []


def test_first_at_its_second_and_then_as_often_as_configured(router: Router) -> None:
    assert starts(router, 1000, 0, "https://x/: nothing new") == [1000, 4600]
    assert router.log == ""


@pytest.mark.parametrize("code", [0, 2, 4, 5])
def test_what_became_of_a_document_is_logged(router: Router, code: int) -> None:
    assert starts(router, 0, code, "policy 7 is something", 7200) == [0, 7200]
    assert router.log == "<5>policy 7 is something\n"  # once, because nothing else was said in between


def test_of_several_documents_the_news_is_logged(router: Router) -> None:
    starts(router, 0, 0, "policy 7 is in force\nhttps://y/: nothing new")
    assert router.log == "<5>policy 7 is in force\n"


def test_after_a_document_came_into_force_it_asks_each_hour_for_a_day(router: Router) -> None:
    turn = router.root / "turn"
    said = f"$(echo >>{turn}; [ $(wc -l <{turn}) -eq 1 ] && echo policy 7 is in force || echo y: nothing new)"
    day = 86_400
    assert starts(router, 0, 0, said, day, step=600) == [*range(0, day + 1, 3600), 2 * day]


@pytest.mark.parametrize(
    ("said", "second"), [("policy 7 is in force already", 7200), (r"policy 7 is in force\nmore", 3600)]
)
def test_only_what_came_into_force_is_watched(router: Router, said: str, second: int) -> None:
    assert starts(router, 0, 0, said, 7200)[1] == second


def test_it_is_said_again_when_something_else_was_in_between(router: Router) -> None:
    turn = router.root / "turn"
    starts(
        router, 0, 1, f"$(echo >>{turn}; case $(wc -l <{turn}) in 2) echo x: nothing new ;; *) echo no route ;; esac)"
    )
    assert router.log == "<5>no route\n" * 2


def test_a_certificate_that_is_not_due_is_not_logged(router: Router) -> None:
    said = "the certificate of cpe-1 ends on 2027-01-01; the next is due in 12345 s"
    assert starts(router, 40, 0, said, 7200, "enrol\n--url=https://x\n") == [40, 7240]
    assert router.log == ""


def test_what_was_said_last_is_kept_for_luci(router: Router) -> None:
    starts(router, 0, 1, "https://x/: no route")
    code, at, said = (router.root / "fetch.last").read_text().replace("\n", " ", 1).split(" ", 2)
    assert (code, said) == ("1", "https://x/: no route\n")
    assert abs(int(at) - time.time()) < 60
    assert sorted(path.name for path in router.root.glob("fetch*")) == ["fetch", "fetch.last"]


def test_where_nothing_was_fetched_it_tries_again_later_and_later(router: Router) -> None:
    found = starts(router, 0, 1, "no route", 86400)
    waits = [later - before for before, later in itertools.pairwise(found)]
    assert waits == [60, 120, 240, 480, 960, 1920, 3600]


def test_what_a_killed_fetch_left_ends(router: Router) -> None:
    left = router.path("/etc/cpe-filter/provision/policy/trial")
    left.parent.mkdir(parents=True)
    left.write_text("")
    (router.root / "sources").write_text("")
    script = router.path("/etc/init.d/cpe-filter")
    script.write_text(f'#!/bin/sh\necho "$@" >{router.root}/asked\nrm {left}\n')
    starts(router, 0, 0, "https://x/: nothing new")
    assert (router.root / "asked").read_text() == "reload\n"
    assert not (router.root / "sources").exists()
