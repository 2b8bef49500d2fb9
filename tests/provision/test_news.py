"""What has become of documents, on flash: each outcome once, bounded, and whole after a power cut at any write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cpe_filter.lean import files
from cpe_filter.provision import command, laid, news
from cpe_filter.provision.folder import digest_of
from cpe_filter.provision.news import Outcome
from cpe_filter.report.document_news import MAX_BYTES, MOST, Ended, News, encode, parse
from tests.power_cut import PowerCutError, power_cut
from tests.provision.test_command import Router, router
from tests.signed import making

__all__ = ["router"]


def path_of(router: Router) -> Path:
    return Path(router.place.folder) / "news" / "list"


def listed(router: Router) -> News:
    return parse(path_of(router).read_bytes())


def ends(router: Router) -> list[tuple[str, str, int, str]]:
    """result, type, sequence, why"""
    return [(one.result, one.type, one.sequence, one.why) for one in listed(router).ended]


def test_each_outcome_once(router: Router) -> None:
    command.make(router.place)
    assert not path_of(router).exists()
    good = router.document(sequence=3)
    for _ in range(2):
        assert router.apply(good) == 0
    assert ends(router) == [("applied", "policy", 3, "")]
    assert listed(router).in_force == (("policy", digest_of(good.read_bytes()), 3),)

    router.works = lambda: {"filter": True, "rules": router.mode == "monitor"}
    worse = router.document('[filter]\nmode = "limit"\n', sequence=4)
    assert [router.apply(worse) for _ in range(3)] == [4, 2, 2]
    assert ends(router)[1:] == [("taken-back", "policy", 4, "rules")]  # that it is refused then is no news

    router.works = lambda: {"filter": True, "rules": True}
    assert router.apply(router.document(sequence=5)) == 0
    command.roll_back(router.place, router.reload)
    assert ends(router)[2:] == [
        ("applied", "policy", 5, ""), ("rolled-back", "policy", 5, ""), ("applied", "policy", 3, ""),
    ]  # fmt: skip
    assert [one.number for one in listed(router).ended] == [1, 2, 3, 4, 5]


def test_a_refusal_is_noted_once_for_each_reason(router: Router) -> None:
    router.apply(router.document(sequence=9))
    for sequence, changes, kind, why in (
        (10, {"audience": ("region:south",)}, "policy", "audience"),
        (8, {}, "policy", "sequence"),
        (11, {"key": making.key("other")}, "", "key"),
        (12, {"type": "instruction", "key": making.key("desk")}, "", "purpose"),
        (13, {"min_agent": "99.0"}, "", "agent"),
    ):
        document = router.document(sequence=sequence, **changes)
        assert [router.apply(document) for _ in range(3)] == [2, 2, 2]
        last = listed(router).ended[-1]
        assert (last.result, last.type, last.why) == ("refused", kind, why)
        assert last.digest == digest_of(document.read_bytes())
        assert last.sequence == (sequence if kind else 0)
    assert len(listed(router).ended) == 6
    # The signature of something else, nothing of signify, nothing at all.
    tampered = router.document(sequence=20)
    tampered.write_bytes(tampered.read_bytes().replace(b"monitor", b"monitos"))
    for data, why in ((tampered.read_bytes(), "signature"), (b"<html>", "format"), (b"", "format")):
        tampered.write_bytes(data)
        assert [router.apply(tampered) for _ in range(2)] == [2, 2]
        assert ends(router)[-1] == ("refused", "", 0, why)
    assert len(listed(router).ended) == 9


def test_a_restart_ends_a_trial(router: Router) -> None:
    def make() -> None:
        command.make(router.place)

    def prepare() -> None:
        laid.over(router.place.base, router.place.folder)

    for at, end in enumerate((make, prepare)):
        document = router.document(sequence=4 + at).read_bytes()
        router.folder.begin(document, router.boot, 150.0)
        end()
        assert not path_of(router).exists() or len(ends(router)) == at
        router.boot = f"b{2 + at}"
        end()
        assert ends(router)[at:] == [("taken-back", "policy", 4 + at, "restart")]
        end()
        assert len(ends(router)) == at + 1


def test_who_was_killed_after_a_step_is_finished_by_the_next(router: Router) -> None:
    """In force, and taken back, and not noted then."""
    good, worse = router.document(sequence=3), router.document(sequence=4)
    router.folder.confirm(good.read_bytes())
    router.folder.begin(worse.read_bytes(), router.boot, 150.0)
    router.folder.refuse(worse.read_bytes(), "after it: rules")
    command.make(router.place)
    assert ends(router) == [("taken-back", "policy", 4, "restart"), ("applied", "policy", 3, "")]
    assert router.apply(router.document(sequence=5)) == 0
    assert len(ends(router)) == 3


def test_bounded(router: Router) -> None:
    for number in range(2 * MOST):
        longest = Outcome(2, "replies", f"{number:016x}", 1 << 53, "rolled-back", "a" * 16)
        news.note(router.place, longest)
    assert [one.number for one in listed(router).ended] == list(range(MOST + 1, 2 * MOST + 1))
    size = path_of(router).stat().st_size
    assert size < MAX_BYTES - 3 * 64
    news.note(router.place, Outcome(2, "policy", "0" * 16, 1, "refused", "Not a word"))
    assert listed(router).ended[-1] == Ended(2 * MOST + 1, "refused", "policy", "0" * 16, 1, "")


@pytest.mark.parametrize("damage", [b"", b"id 0\n", b"\xff" * 20000, encode(News("0" * 16))[:-2]])
def test_a_list_that_cannot_be_read_begins_again(router: Router, damage: bytes) -> None:
    router.apply(router.document(sequence=3))
    before = listed(router)
    path_of(router).write_bytes(damage)
    command.make(router.place)
    after = listed(router)
    assert after.id != before.id
    assert (after.in_force, after.ended) == (before.in_force, before.ended)


def test_a_power_cut_at_every_write(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    router.apply(router.document(sequence=3))
    for cut in range(20):
        before = listed(router)
        whole = False
        with power_cut(monkeypatch, cut, "unlink", "write", "fsync", "rename"):
            try:
                news.note(router.place, Outcome(2, "policy", f"{cut:016x}", 9, "refused", "content"))
                whole = True
            except PowerCutError:
                pass
        after = listed(router)
        assert after.ended[: len(before.ended)] == before.ended
        if whole:
            assert len(after.ended) == len(before.ended) + 1
            break
    else:
        pytest.fail("it did not end")


def test_a_full_disk_stops_no_document(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, content: bytes) -> None:
        raise OSError(28, os.strerror(28), path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", full)
        news.note(router.place, Outcome(2, "policy", "0" * 16, 1, "refused", "content"))
    assert not path_of(router).exists()


def test_two_at_once_lose_nothing(router: Router) -> None:
    children = []
    for number in range(4):
        child = os.fork()
        if not child:
            for other in range(5):
                news.note(router.place, Outcome(2, "", f"{number * 16 + other:016x}", 0, "refused", "key"))
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert len({one.digest for one in listed(router).ended}) == 20
