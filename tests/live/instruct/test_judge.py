"""What `send` has left is judged: order, replays, another router, clocks, damaged files; and what is kept of it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.live.instruct import judge
from cpe_filter.signed import sequence
from tests.collect.ca import Authority
from tests.signed.making import DAY, NOW, folder_of, key, message

DESK = key("desk")
DEV = "0123456789abcdef"


class Router:
    """The files of a router whose certificate names it cpe-0001."""

    def __init__(self, folder: Path) -> None:
        self.left = folder / "instructions"
        self.state = str(folder / "state.signed")
        self.keys = folder_of(folder, desk=DESK, policy=key("policy"))
        self.certificate = str(Authority(folder / "ca").router("cpe-0001").certificate)

    def judge(self, *documents: bytes, now: float | None = NOW) -> list[tuple[str, str]]:
        """Outcome and action of each."""
        self.left.write_text(json.dumps([data.decode("utf-8", "surrogateescape") for data in documents]))
        found = judge.judge(str(self.left), self.keys, self.state, self.certificate, now)
        self.digests = [one[0] for one in found]
        return [(one[1], one[2]) for one in found]


@pytest.fixture
def router(tmp_path: Path) -> Router:
    return Router(tmp_path)


def signed(number: int, action: str = "release", **changes: Any) -> bytes:
    until = "until = 2027-02-01T00:00:00Z\n" if action == "exempt" else ""
    content = f'[instruction]\naction = "{action}"\ndevice = "{DEV}"\n{until}'
    return DESK.sign(message(content=content, sequence=number, **changes))


def test_in_the_order_of_their_sequences(router: Router) -> None:
    assert router.judge(signed(9, "exempt"), signed(8)) == [("", "release"), ("", "exempt")]
    assert router.judge(signed(7)) == [("sequence", "release")]
    assert router.judge(signed(10)) == [("", "release")]


def test_taken_and_not_done_is_carried_out_again(router: Router) -> None:
    """The router may have lost its power in between; done, it is only answered again."""
    assert router.judge(signed(9)) == [("", "release")]
    assert router.judge(signed(9)) == [("", "release")]
    judge.note(router.state, router.digests[0], "applied")
    assert router.judge(signed(9)) == [("applied", "release")]
    assert router.judge(signed(9), signed(9)) == [("applied", "release")] * 2


@pytest.mark.parametrize(
    ("data", "now", "code"),
    [
        (signed(9, audience=("router:cpe-0002",)), NOW, "audience"),
        (signed(9).replace(b"release", b"exempt"), NOW, "signature"),
        (signed(9, "block"), NOW, "content"),
        (signed(9), NOW + DAY, "expired"),
        (signed(9), 0, "early"),
        (key("policy").sign(message()), NOW, "purpose"),
        (key("other").sign(message()), NOW, "key"),
        (DESK.sign(message("policy")), NOW, "type"),
        (b"", NOW, "format"),
        (b"\x00\xff", NOW, "format"),
    ],
)
def test_a_refusal_leaves_everything_as_it_was(router: Router, data: bytes, now: float, code: str) -> None:
    assert [outcome for outcome, _ in router.judge(data, now=now)] == [code]
    assert not Path(router.state).exists()
    assert router.judge(signed(1)) == [("", "release")]


def test_without_a_synchronised_clock_dates_are_not_judged(router: Router) -> None:
    assert router.judge(signed(9, issued=NOW - 9 * DAY, expires=NOW - 8 * DAY), now=None) == [("", "release")]


def test_no_exemption_for_ever_while_the_clock_is_not_synchronised(router: Router) -> None:
    """A stolen key has the year that it wants as `issued`; what the clock says is not later than the true time."""

    def judge_at(document: bytes, wall: float) -> list[str]:
        router.left.write_text(json.dumps([document.decode()]))
        return [
            one[1] for one in judge.judge(str(router.left), router.keys, router.state, router.certificate, None, wall)
        ]

    far: dict[str, Any] = {"issued": NOW + 7900 * 365 * DAY, "expires": NOW + 7901 * 365 * DAY}
    until = f"until = {datetime.fromtimestamp(far['issued'] + DAY, timezone.utc).isoformat()}\n"
    content = f'[instruction]\naction = "exempt"\ndevice = "{DEV}"\n{until}'
    made = message(content=content, sequence=9, issued=far["issued"], expires=far["expires"])
    assert judge_at(DESK.sign(made), NOW) == ["early"]
    assert judge_at(signed(9, "exempt"), NOW - 2 * 366 * DAY) == ["early"]
    assert judge_at(signed(9, "exempt"), NOW - 300 * DAY) == [""]
    assert judge_at(signed(10), 0) == [""]


def test_what_was_taken_is_not_known(router: Router) -> None:
    """A damaged file: nothing is carried out, because it might be a replay."""
    Path(router.state).write_text("{")
    Path(router.state).chmod(0o600)
    assert router.judge(signed(9)) == [("state", "")]
    assert Path(router.state).read_text() == "{"


@pytest.mark.parametrize("text", ["", "{}", "[1, null]", '"x"', "[" * 9000])
def test_what_send_left_is_not_a_list_of_texts(router: Router, text: str) -> None:
    router.left.write_text(text)
    assert judge.judge(str(router.left), router.keys, router.state, router.certificate, NOW) == []


def test_no_more_than_eight(router: Router) -> None:
    assert len(router.judge(*(signed(number) for number in range(1, 20)))) == judge.MOST


def test_a_disk_that_is_full_takes_nothing(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(taken: sequence.Taken, path: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(sequence.Taken, "save", full)
        with pytest.raises(OSError, match="No space left"):
            router.judge(signed(9))
    assert router.judge(signed(9)) == [("", "release")]
