"""When an ETag counts: not after a refusal that time, room or a key can end, and not for ever."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpe_filter.outcome import EXIT_OK
from cpe_filter.provision import apply, command, judge
from cpe_filter.provision.apply import FULL, is_settled
from cpe_filter.provision.etags import MOST_UNCHANGED, Etags
from cpe_filter.provision.news import APPLIED, BAD, REFUSED, TAKEN_BACK, Outcome
from cpe_filter.signed.document import Recipient
from cpe_filter.signed.errors import CODES
from tests.collect.ca import Authority
from tests.provision.hostile import Server
from tests.provision.test_command import Router, router
from tests.signed import making

__all__ = ["router"]
URL = "https://x/"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


class Published:
    """A document with a good ETag, on a web server that keeps to the rules."""

    def __init__(self, router: Router, authority: Authority) -> None:
        self.router, self.ca = router, str(authority.certificate)
        self.document = b""
        self.server = Server(authority.server())
        self.server.answer = self._answer

    def _answer(self) -> list[bytes]:
        etag = hashlib.sha256(self.document).hexdigest().encode()
        if b'If-None-Match: "' + etag in self.server.asked[-1]:
            return [b"HTTP/1.1 304 Not Modified\r\n\r\n"]
        length = len(self.document)
        return [b'HTTP/1.1 200 OK\r\nETag: "%b"\r\nContent-Length: %d\r\n\r\n' % (etag, length) + self.document]

    def fetch(self) -> tuple[int, bool]:
        """The exit status, and whether a document came."""
        before = self.server.sent
        code = command.fetch([self.server.url], self.ca, 0, self.router.place, self.router.reload)
        return code, self.server.sent - before > len(self.document)


@pytest.fixture
def published(router: Router, authority: Authority) -> Iterator[Published]:
    made = Published(router, authority)
    yield made
    made.server.close()


def test_which_outcomes_the_same_document_would_have_again() -> None:
    again = {"toml", "header", "type", "agent", "audience", "sequence", "bad", "content"}
    for code in (*CODES, BAD, judge.CONTENT, FULL):
        assert is_settled(Outcome(2, "policy", "d", 1, REFUSED, code)) is (code in again), code
    assert is_settled(Outcome(EXIT_OK, "policy", "d", 1, APPLIED))
    assert is_settled(Outcome(apply.EXIT_NOT_FOR_US, "policy", "d", 1))
    assert is_settled(Outcome(apply.EXIT_TAKEN_BACK, "policy", "d", 1, TAKEN_BACK, "rules"))
    assert not is_settled(Outcome(apply.EXIT_TAKEN_BACK, "policy", "d", 1, TAKEN_BACK, FULL))


@pytest.mark.parametrize("now", [0.0, 4.3e9], ids=["1970", "2106"])
def test_a_clock_that_was_wrong_for_a_while(published: Published, now: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moved by a forged NTP answer, say: the kernel calls it synchronised. What it refused comes again."""
    published.document = published.router.document().read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now)
        for _ in range(2):
            assert published.fetch() == (2, True)
    assert published.fetch() == (0, True)
    assert published.fetch() == (0, False)
    assert published.router.mode == "monitor"


def test_a_key_that_comes_later(published: Published) -> None:
    new = making.key("next")
    published.document = published.router.document(key=new).read_bytes()
    for _ in range(2):
        assert published.fetch() == (2, True)
    making.folder_of(published.router.tmp, policy=new)
    assert published.fetch() == (0, True)
    assert published.fetch() == (0, False)


def test_a_rollout_that_does_not_reach_this_router_is_not_fetched_again(published: Published) -> None:
    published.document = published.router.document(rollout_permille=0, salt="a").read_bytes()
    assert published.fetch() == (5, True)
    assert published.fetch() == (0, False)


def test_what_was_taken_back_is_not_fetched_again_until_the_list_is_lost(published: Published) -> None:
    router = published.router
    published.document = router.document().read_bytes()
    router.works = lambda: {"filter": True, "rules": not Path(router.place.out).exists() or router.mode == "block"}
    assert published.fetch() == (4, True)
    assert published.fetch() == (0, False)
    (Path(router.folder.path) / "bad").unlink()
    assert published.fetch() == (4, True)


@pytest.mark.parametrize("change", ["policy", "good", "taken", "keys", "revoked"])
def test_what_a_judgement_depends_on(published: Published, change: str) -> None:
    router = published.router
    published.document = router.document().read_bytes()
    assert published.fetch() == (0, True)
    assert published.fetch() == (0, False)
    if change == "policy":
        base = Path(router.place.base)
        base.write_text(base.read_text() + "# another\n")
    elif change in ("good", "taken"):
        (Path(router.folder.path) / change).unlink()
    elif change == "keys":
        making.folder_of(router.tmp, detector=making.key("more"))
    else:
        (Path(router.place.keys) / "revoked").write_text("00" * 8 + "\n")
    assert published.fetch()[1]


def test_everything_is_fetched_now_and_then(published: Published) -> None:
    published.document = published.router.document().read_bytes()
    came = [published.fetch()[1] for _ in range(2 * MOST_UNCHANGED + 3)]
    assert came == ([True] + [False] * MOST_UNCHANGED) * 2 + [True]


def test_a_busy_folder_is_tried_again_soon(
    published: Published, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cpe_filter.lean.files import lock_folder

    monkeypatch.setattr(apply, "_LOCK_S", 0.0)
    published.document = published.router.document().read_bytes()
    Path(published.router.place.folder).mkdir(mode=0o700)
    lock = lock_folder(published.router.place.folder, 0)
    assert published.fetch() == (1, True)
    assert "already running; the policy stays as it was" in capsys.readouterr().err
    os.close(lock)
    assert published.fetch() == (0, True)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", '{"https://x/": 3}', '{"https://x/": ["a", "b"]}', '{"https://x/": ["a", 1, 2]}', "[" * 9000],
)
def test_a_damaged_file_counts_for_nothing(router: Router, text: str) -> None:
    path = Path(router.place.folder) / "etags"
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o600)
    etags = Etags(router.place, Recipient("r"))
    assert etags.of(URL) == ""
    etags.unchanged(URL)
    etags.note(URL, '"e"')
    assert etags.of(URL) == '"e"'


def test_the_file_is_bounded(router: Router) -> None:
    Path(router.place.folder).mkdir()
    etags = Etags(router.place, Recipient("r"))
    for number in range(100):
        etags.note(f"https://{number}/", '"e"')
    assert len(json.loads((Path(router.place.folder) / "etags").read_text())) == 16
