"""`cpe-filter policy build|sign|publish|halt`: whole commands, real keys and folders, routers that take what comes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.cli import commands
from cpe_filter.collect import policy_bundle, policy_command, published, signing
from cpe_filter.outcome import UsageError
from cpe_filter.provision import overlay
from cpe_filter.signed import document as documents
from cpe_filter.signed import sequence, signify
from cpe_filter.signed.document import POLICY_BUNDLE, Document
from cpe_filter.signed.errors import SignedError
from tests.collect.publisher import MILD, OTHER, STRICT, Isp


class Router:
    """What a router does with what it fetches, without the trial: the rules of provision.command."""

    def __init__(self, isp: Isp, name: str, taken_back: set[int] | None = None) -> None:
        self.isp, self.name, self.taken_back = isp, name, taken_back or set()
        self.taken = sequence.Taken()
        self.good: Document | None = None
        self.bad: set[str] = set()

    def fetch(self) -> None:
        made = policy_bundle.checked(self.isp.current, str(self.isp.keys), time.time())
        if made.digest in self.bad or not made.is_rolled_out_to(self.name):
            return
        if self.good is None or self.good.digest != made.digest:
            try:
                self.taken.check(made)
            except SignedError:
                return
        if made.sequence in self.taken_back:
            self.bad.add(made.digest)
            return
        self.taken.take(made)
        self.good = made

    @property
    def policy(self) -> dict[str, Any]:
        return overlay.merged({}, self.good.content if self.good else {})


@pytest.fixture
def isp(tmp_path: Path) -> Isp:
    return Isp(tmp_path)


def test_published_staged_continued(isp: Isp, capsys: pytest.CaptureFixture[str]) -> None:
    assert isp.publish(MILD) == 0
    said = capsys.readouterr().out
    assert "[filter] mode: (the router's) -> 'monitor'" in said
    assert f"{isp.web}/routers.signed is policy 1, digest " in said
    assert isp.publish(STRICT, 10) == 0
    said = capsys.readouterr().out
    assert ", 10 of 1000 of these" in said
    assert "compared with 1 for *" in said
    assert "warning: [filter] mode: 'monitor' -> 'block': stricter\n" in said
    assert "warning: [network] relays: 198.51.100.7 removed: mail to it is no longer let through unseen\n" in said
    assert isp.do("publish", "--permille", "200") == 0
    assert isp.do("publish", "--permille", "200") == 1
    assert isp.do("publish", "--permille", "1000") == 0
    assert isp.states == [(1, 1000, "replaced"), (2, 10, "replaced"), (3, 200, "replaced"), (4, 1000, "current")]
    names = sorted(str(path.relative_to(isp.web)) for path in isp.web.rglob("*") if path.is_file())
    assert names == [
        *(f"archive/routers/{n}.signed" for n in (1, 2, 3, 4)),
        "index.json", "routers.signed", "routers.signed.etag",
    ]  # fmt: skip
    steps = [published.archived(str(isp.web), "routers", n) for n in (2, 3, 4)]
    assert [(one.salt, one.rollout_permille) for one in steps] == [("spring", 10), ("spring", 200), ("", 1000)]
    assert len({json.dumps(one.content) for one in steps}) == 1
    first = {n for n in range(3000) if steps[0].is_rolled_out_to(f"cpe-{n}")}
    assert 10 <= len(first) <= 60
    assert all(one.is_rolled_out_to(f"cpe-{n}") for n in first for one in steps)


def test_etag_and_time_are_of_the_document(isp: Isp) -> None:
    isp.publish(MILD)
    at = os.stat(isp.web / "routers.signed").st_mtime
    assert at == published.archived(str(isp.web), "routers", 1).issued
    assert (isp.web / "routers.signed.etag").read_text() == f'"{published.etag(isp.current)}"'
    assert os.stat(isp.web / "routers.signed").st_mode & 0o777 == 0o644
    # Two of one size within one second: a server that makes its ETag of time and size must show another one.
    isp.publish(OTHER)
    assert os.stat(isp.web / "routers.signed").st_mtime > at


def test_a_dangerous_change_to_all_at_once_needs_yes(isp: Isp, capsys: pytest.CaptureFixture[str]) -> None:
    isp.publish(MILD)
    document = isp.signed(STRICT)
    assert isp.do("publish", document) == 3
    assert "may stop legitimate mail, and 1000 of 1000 routers" in capsys.readouterr().err
    assert [one[0] for one in isp.states] == [1]
    assert isp.do("publish", isp.signed(OTHER)) == 0  # not dangerous
    assert isp.publish(STRICT, 50) == 0
    assert isp.do("publish", "--permille", "1000") == 0  # it has been staged
    assert isp.channel["current"] == 4


def test_dry_run_writes_nothing(isp: Isp, capsys: pytest.CaptureFixture[str]) -> None:
    assert isp.publish(MILD, 1000, "--dry-run") == 0
    assert "would be policy 1; nothing was written" in capsys.readouterr().out
    assert list(isp.web.iterdir()) == []


def test_halt_at_once_and_for_every_router(isp: Isp, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [f"cpe-{n}" for n in range(400)]
    routers = [Router(isp, name) for name in ids]
    isp.publish(MILD)
    for one in routers:
        one.fetch()
    isp.publish(STRICT, 100)
    for one in routers[:200]:  # the others are off
        one.fetch()
    took = [one for one in routers if one.policy["filter"]["mode"] == "block"]
    assert 5 < len(took) < 40
    noticed = Router(isp, took[0].name, {2})  # it took it, saw that mail fails, and went back
    noticed.good = published.archived(str(isp.web), "routers", 1)
    noticed.fetch()
    assert noticed.policy["filter"]["mode"] == "monitor"
    new = Router(isp, "cpe-new")
    capsys.readouterr()
    assert isp.do("halt") == 0
    assert "halt of policy 2: policy 3 is the content of 1" in capsys.readouterr().out
    assert isp.states == [(1, 1000, "replaced"), (2, 100, "halted"), (3, 1000, "current")]
    assert isp.channel["documents"][-1]["halts"] == 2
    for one in (*routers, noticed, new):
        one.fetch()
        assert one.good is not None
        assert (one.good.sequence, one.policy["filter"]["mode"]) == (3, "monitor")
    assert isp.do("halt") == 1  # nothing to halt: else the bad one would come back
    assert "is a halt already, of 2" in capsys.readouterr().err
    assert isp.states[-1] == (3, 1000, "current")


def test_what_was_halted_is_not_published_again_unseen(isp: Isp, capsys: pytest.CaptureFixture[str]) -> None:
    isp.publish(MILD)
    isp.publish(STRICT, 10)
    isp.do("halt")
    capsys.readouterr()
    assert isp.publish(STRICT, 10) == 0
    assert "warning: this content was halted before, as 2" in capsys.readouterr().out
    # The good one is not halted by that, and comes back again.
    assert [state for *_, state in isp.states] == ["replaced", "halted", "replaced", "staged"]
    assert isp.do("halt") == 0
    assert published.archived(str(isp.web), "routers", 5).content["filter"]["mode"] == "monitor"


def test_halt_takes_back_all_steps_and_passes_over_what_was_only_staged(isp: Isp) -> None:
    isp.publish(MILD)
    isp.publish(OTHER, 10)  # never reached all
    isp.publish(STRICT, 10)
    isp.do("publish", "--permille", "100")
    assert isp.do("halt") == 0
    assert [state for *_, state in isp.states] == ["replaced", "replaced", "halted", "halted", "current"]
    assert published.archived(str(isp.web), "routers", 5).content["network"]["relays"] == [
        "192.0.2.0/24",
        "198.51.100.7",
    ]
    assert "notice" not in published.archived(str(isp.web), "routers", 5).content


def test_halt_without_a_policy_before_leaves_it_to_the_routers(isp: Isp, capsys: pytest.CaptureFixture[str]) -> None:
    router = Router(isp, "cpe-1")
    isp.publish(STRICT)
    router.fetch()
    assert router.policy["filter"]["mode"] == "block"
    capsys.readouterr()
    assert isp.do("halt") == 0
    assert "an empty one: each router's own counts" in capsys.readouterr().out
    router.fetch()
    assert router.good is not None
    assert (router.good.sequence, router.policy) == (2, {})
    assert isp.states == [(1, 1000, "halted"), (2, 1000, "current")]


def test_halt_to_one_that_has_expired_lasts_again(isp: Isp, monkeypatch: pytest.MonkeyPatch) -> None:
    isp.do("publish", isp.signed(MILD, "--expires", "30"), "--yes")
    later = time.time() + 60 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    isp.publish(STRICT, 10, "--expires", "100")
    assert isp.do("halt") == 0
    made = published.archived(str(isp.web), "routers", 3)
    assert (made.issued, made.expires) == (int(later), int(later) + 365 * 86400)
    assert isp.do("halt", "--to", "2") == 0  # a person's decision
    assert published.archived(str(isp.web), "routers", 4).content["filter"]["mode"] == "block"
    assert isp.do("halt", "--to", "0") == 0
    assert published.archived(str(isp.web), "routers", 5).content == {}


SIGNIFY = shutil.which("signify-openbsd") or shutil.which("signify") or ""


@pytest.mark.skipif(not SIGNIFY, reason="no signify")
def test_the_key_never_leaves_another_machine(isp: Isp, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """build, signify there, sign --signature, publish; halt on the same road."""

    def elsewhere(message: str) -> str:
        command = [SIGNIFY, "-S", "-s", str(isp.secret), "-m", message, "-x", f"{message}.sig"]
        subprocess.run(command, check=True)
        return f"{message}.sig"

    def publish(message: str) -> int:
        document = f"{message}.signed"
        assert isp.do("sign", message, "--signature", elsewhere(message), "--output", document) == 0
        return isp.do("publish", document, "--yes", "--unsigned", "-")

    for number, text in enumerate((MILD, STRICT)):
        message = str(tmp_path / f"{number}.unsigned")
        assert isp.do("build", isp.policy(text), "--output", message) == 0
        assert publish(message) == 0
    message = str(tmp_path / "halt.unsigned")
    capsys.readouterr()
    assert isp.do("halt", "--unsigned", message) == 0
    assert "sign it, then: policy sign" in capsys.readouterr().out
    assert isp.channel["current"] == 2
    assert publish(message) == 0
    assert [state for *_, state in isp.states] == ["replaced", "halted", "current"]
    assert isp.do("halt", "--unsigned", message) == 1
    # The signature of another document.
    with pytest.raises(UsageError, match=r"not a signature of key [0-9a-f]{16} \(signature\)"):
        isp.do("sign", message, "--signature", str(tmp_path / "0.unsigned.sig"), "--output", str(tmp_path / "x"))
    with pytest.raises(UsageError, match="not a signature of signify"):
        isp.do("sign", message, "--signature", message, "--output", str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def _message(isp: Isp, text: str = MILD, **more: Any) -> bytes:
    now = int(time.time())
    header = signing.Header(POLICY_BUNDLE, 8, now, now + 86400 * 30, ("*",))
    header = header._replace(**more)
    return signing.header(header).encode() + text.encode()


def _with(isp: Isp, text: str = MILD, **more: Any) -> bytes:
    if "issued" in more and "expires" not in more:
        more["expires"] = more["issued"] + 86400
    return isp.key.sign(_message(isp, text, **more))


def _good(isp: Isp) -> bytes:
    return _with(isp)


def _changed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


REFUSED: dict[str, tuple[Callable[[Isp], bytes], str]] = {
    "unsigned": (_message, "not a signature of signify"),
    "changed": (lambda isp: _changed(_good(isp), b"monitor", b"limited"), "not a signature of key"),
    "of an unknown key": (lambda isp: signing.generate().sign(_message(isp)), "is not among the keys for policy"),
    "of a key for tables": (lambda isp: isp.detector.sign(_message(isp)), "is for detector; expected a key for policy"),
    "expired": (lambda isp: _with(isp, expires=int(time.time()) - 1, issued=1000), r"it expired .*\(expired\)"),
    "too early": (lambda isp: _with(isp, issued=int(time.time()) + 3 * 86400), r"later than now \(early\)"),
    "going backward": (lambda isp: _with(isp, sequence=5), "has sequence 7, the document 5: it would go backward"),
    "the same number": (lambda isp: _with(isp, sequence=7), "has sequence 7, the document 7"),
    "not a policy": (lambda isp: _with(isp, text='[filter]\nmode = "blok"\n'), 'mode is "blok"'),
    "of the router": (lambda isp: _with(isp, text='[network]\nlan = ["br0"]\n'), "lan belongs to the router"),
    "for later routers": (lambda isp: _with(isp, min_agent="99.0"), r"it needs cpe-filter 99.0 or later.*\(agent\)"),
    "a number behind which there is none": (lambda isp: _with(isp, sequence=10**15), "allowed: at most 15 digits"),
    "years of two digits": (
        lambda isp: isp.key.sign(_message(isp).replace(b"issued = 20", b"issued = 00")), r"1970 to 9999 \(header\)"
    ),
    "empty": (lambda _: b"", "not a signature of signify"),
    "large": (lambda _: b"x" * (1 << 20), "too large"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_one_line_and_nothing_changes(isp: Isp, name: str) -> None:
    make, said = REFUSED[name]
    first = isp.tmp / "first"
    first.write_bytes(_with(isp, OTHER, sequence=7))
    assert isp.do("publish", str(first), "--yes") == 0
    before = {path: path.read_bytes() for path in isp.web.rglob("*") if path.is_file()}
    document = isp.tmp / "document"
    document.write_bytes(make(isp))
    with pytest.raises(UsageError, match=said) as error:
        isp.do("publish", str(document), "--yes")
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in isp.web.rglob("*") if path.is_file()} == before


def test_no_key_no_channel_no_folder(isp: Isp) -> None:
    with pytest.raises(UsageError, match="nothing is published in channel routers; there: none"):
        isp.do("halt")
    isp.publish(MILD)
    with pytest.raises(UsageError, match="nothing is published in channel south; there: routers"):
        isp.do("halt", "--channel", "south")
    with pytest.raises(UsageError, match=r"--channel '../x': allowed"):
        isp.do("publish", isp.signed(OTHER), "--channel", "../x")
    with pytest.raises(UsageError, match="--key is missing"):
        commands.run(["policy", "halt", "--published", str(isp.web), "--keys", str(isp.keys)])
    with pytest.raises(UsageError, match="No such file or directory"):
        isp.do("halt", "--published", "/nowhere/at/all")
    with pytest.raises(UsageError, match="expected a DOCUMENT, or --permille"):
        isp.do("publish")
    with pytest.raises(UsageError, match="--sequence is missing"):
        commands.run(["policy", "sign", isp.policy(MILD), "--key", str(isp.secret), "--output", str(isp.tmp / "x")])
    (isp.web / "index.json").write_text('{"format": 1, "channels": {"x": 1}}')
    with pytest.raises(UsageError, match="not an index of published documents"):
        isp.do("halt")


def test_fewer_routers_or_other_ones_is_not_a_step(isp: Isp) -> None:
    isp.publish(MILD)
    isp.publish(STRICT, 100)
    with pytest.raises(UsageError, match=r"10 would be fewer.*`policy halt` does that"):
        isp.do("publish", "--permille", "10")
    document = isp.signed(STRICT, "--permille", "200", "--salt", "autumn")
    with pytest.raises(UsageError, match="staged with salt 'spring'; another salt would choose other routers"):
        isp.do("publish", document, "--yes")


def test_two_at_once(isp: Isp) -> None:
    document = isp.signed(MILD)
    with published.locked(str(isp.web)), pytest.raises(UsageError, match="another process is publishing there"):
        isp.do("publish", document, "--yes")


def test_a_store_that_does_not_answer_keeps_nobody_from_a_halt(isp: Isp, monkeypatch: pytest.MonkeyPatch) -> None:
    """publish counts routers; a second person halts meanwhile. The document that was judged before is not published."""
    isp.publish(MILD)
    isp.publish(STRICT, 10)
    document = isp.signed(OTHER)

    def meanwhile(*_: Any) -> None:
        monkeypatch.undo()
        assert isp.do("halt") == 0

    monkeypatch.setattr(policy_command, "_concerned", meanwhile)
    with pytest.raises(UsageError, match="another process has published there meanwhile; begin again"):
        isp.do("publish", document, "--yes")
    assert [state for *_, state in isp.states] == ["replaced", "halted", "current"]
    assert isp.do("publish", isp.signed(OTHER), "--yes") == 0


def test_audience_that_shrinks_and_a_second_channel(isp: Isp, capsys: pytest.CaptureFixture[str]) -> None:
    isp.do("publish", isp.signed(MILD, "--audience", "region:north", "--audience", "region:south"), "--yes")
    isp.do("publish", isp.signed(OTHER, "--audience", "region:north"), "--yes")
    said = capsys.readouterr().out
    assert "compared with 1 for region:north, region:south:" in said
    assert "warning: audience: region:south left out; these routers keep what they have" in said
    # The numbers of one type go on over all channels: a router may change its channel.
    isp.do("publish", isp.signed(STRICT), "--channel", "lab", "--yes")
    assert json.loads((isp.web / "index.json").read_text())["channels"]["lab"]["current"] == 3


def test_power_cut_at_each_write(isp: Isp, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each, what routers get is whole and old or new; publishing or halting again succeeds."""
    isp.publish(MILD)
    before = isp.current
    document = isp.signed(STRICT, "--permille", "10", "--salt", "spring")
    real = published._replace
    for cut in range(4):
        folder = isp.tmp / f"cut{cut}"
        shutil.copytree(isp.web, folder)
        left = [cut]

        def until(*arguments: Any, left: list[int] = left) -> None:
            if not left[0]:
                raise OSError("power cut")
            left[0] -= 1
            real(*arguments)

        monkeypatch.setattr(published, "_replace", until)
        with pytest.raises((UsageError, OSError)):
            isp.do("publish", document, "--yes", "--published", str(folder))
        monkeypatch.setattr(published, "_replace", real)
        assert (folder / "routers.signed").read_bytes() == before
        again = shutil.copytree(folder, isp.tmp / f"again{cut}")
        assert isp.do("publish", document, "--yes", "--published", str(again)) in (0, 1)
        made = documents.parse(signify.signed_message((again / "routers.signed").read_bytes()).message, "1.0")
        assert made.sequence == 2
        assert isp.do("halt", "--published", str(folder)) == 0
        made = documents.parse(signify.signed_message((folder / "routers.signed").read_bytes()).message, "1.0")
        # Where the index does not have it no router does: then it is the one before that is halted.
        assert made.content == (
            {} if cut < 2 else overlay.merged({}, published.archived(str(isp.web), "routers", 1).content)
        )
        assert made.sequence > 1 + bool(cut)


@pytest.mark.parametrize("verb", ["halt", "publish"])
def test_a_command_that_was_cut_short_is_completed_by_itself(
    isp: Isp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """Where the index has it already, and the file that routers get has not."""
    isp.publish(MILD)
    isp.publish(STRICT, 10)
    words = ("halt",) if verb == "halt" else ("publish", "--permille", "50")
    real = published._replace

    def cut(path: str, *rest: Any) -> None:
        if path.endswith("/routers.signed"):
            raise OSError("power cut")
        real(path, *rest)

    before = isp.current
    monkeypatch.setattr(published, "_replace", cut)
    with pytest.raises(UsageError):
        isp.do(*words)
    monkeypatch.setattr(published, "_replace", real)
    assert isp.current == before
    assert isp.do(*words, "--dry-run") == 1
    assert isp.current == before
    capsys.readouterr()
    assert isp.do(*words) == 0
    assert "routers.signed is policy 3, digest " in capsys.readouterr().out
    assert isp.current == (isp.web / "archive/routers/3.signed").read_bytes()
    assert isp.do(*words) == 1


def test_a_folder_that_was_copied_in_part(isp: Isp) -> None:
    isp.publish(MILD)
    isp.publish(OTHER)
    isp.publish(STRICT, 10)
    without_archive = shutil.copytree(isp.web, isp.tmp / "a")
    (without_archive / "archive/routers/3.signed").unlink()
    assert isp.do("halt", "--published", str(without_archive)) == 0  # the routers' file has it, too
    without_both = shutil.copytree(isp.web, isp.tmp / "b")
    (without_both / "archive/routers/3.signed").unlink()
    (without_both / "routers.signed").write_bytes(isp.key.sign(_message(isp)))
    with pytest.raises(UsageError, match=r"archive/routers/3.signed: No such file"):
        isp.do("halt", "--published", str(without_both))
    without_index = shutil.copytree(isp.web, isp.tmp / "c")
    (without_index / "index.json").unlink()
    for words in (("halt",), ("publish", isp.signed(MILD), "--yes")):
        # Else the numbers would begin again, and every router would refuse them.
        with pytest.raises(UsageError, match=r"index.json is missing, and routers.signed is there"):
            isp.do(*words, "--published", str(without_index))
    (without_index / "routers.signed").unlink()
    document = str(isp.tmp / "next")
    assert isp.do("sign", isp.policy(MILD), "--output", document, "--published", str(without_index)) == 0
    assert policy_bundle.read(document).sequence == 4


def test_a_stage_for_others_leaves_routers_behind(isp: Isp, capsys: pytest.CaptureFixture[str]) -> None:
    isp.publish(MILD)
    isp.publish(STRICT, 10)
    capsys.readouterr()
    warning = "warning: 10 of 1000 routers may have 2; those that are not among the first of this one keep it."
    for salt, permille, warned in (("spring", "20", False), ("autumn", "20", True), ("spring", "5", True)):
        document = isp.signed(OTHER, "--permille", permille, "--salt", salt)
        assert isp.do("publish", document, "--dry-run") == 0
        assert (warning in capsys.readouterr().out) == warned
    assert isp.do("publish", isp.signed(OTHER), "--dry-run") == 0
    assert warning not in capsys.readouterr().out


def test_a_policy_that_begins_with_a_key(isp: Isp) -> None:
    """Behind the header it would be a key of the header."""
    made = policy_bundle.read(isp.signed('filter.mode = "limit"\nnotice = {provider = "Example"}\n'))
    assert made.content == {"filter": {"mode": "limit"}, "notice": {"provider": "Example"}}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--expires", "999999999999"), "--expires is 999999999999; allowed: 1 to "),
        (("--expires", "0"), "--expires is 0; allowed: 1 to "),
        (("--sequence", str(2**63)), "allowed: a whole number of at most 15 digits"),
        (("--min-agent", "zzz"), "--min-agent is 'zzz'; allowed: a version up to this one"),
        (("--min-agent", "99.0"), "allowed: a version up to this one"),
        (("--audience", "region:s\u00fcd"), "audience has"),
    ],
)
def test_options_that_make_no_document(isp: Isp, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        isp.do("sign", isp.policy(MILD), "--output", str(isp.tmp / "x"), *words)
    assert not (isp.tmp / "x").exists()
    if words[0] == "--expires":
        isp.publish(MILD)
        with pytest.raises(UsageError, match=said):
            isp.do("halt", *words)


@pytest.mark.parametrize("number", [1, 2], ids=["what comes back", "the current one"])
@pytest.mark.parametrize("how", ["changed", "another", "another key"])
def test_who_can_write_to_the_folder_does_not_choose_what_is_signed(isp: Isp, number: int, how: str) -> None:
    """The web server, for example: halt and the next step sign a content of the archive again."""
    isp.publish(MILD)
    isp.publish(STRICT, 10)
    path = isp.web / f"archive/routers/{number}.signed"
    data = path.read_bytes()
    if how == "changed":
        data = _changed(data, b'"192.0.2.0/24"', b'"203.0.113.9"')
    elif how == "another":
        data = _with(isp, OTHER, sequence=99)
    else:
        data = signing.generate().sign(signify.signed_message(data).message)
    path.write_bytes(data)
    (isp.web / "routers.signed").write_bytes(data)
    before = json.loads((isp.web / "index.json").read_text())
    for words in (("halt",), *((("publish", "--permille", "100"),) if number == 2 else ())):
        with pytest.raises(UsageError, match=f"routers {number} in the archive is not signed again: ") as error:
            isp.do(*words)
        assert "\n" not in str(error.value)
    assert json.loads((isp.web / "index.json").read_text()) == before
    assert isp.do("publish", isp.signed(MILD, "--sequence", "100"), "--yes") == 0  # a way on


def test_an_instruction_is_not_published(isp: Isp) -> None:
    """It is for one router, which gets it with the answer to a report."""
    desk = signing.generate()
    isp.trust(desk, "desk", "desk")
    issued = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    header = f'type = "instruction"\nsequence = 5\nissued = {issued}\nexpires = 2099-01-01T00:00:00Z\n'
    path = isp.tmp / "instruction.signed"
    path.write_bytes(desk.sign(f'[document]\n{header}audience = ["router:cpe-1"]\n[instruction]\n'.encode()))
    with pytest.raises(UsageError, match="of type instruction, for one router; allowed: policy, table, replies"):
        isp.do("publish", str(path), "--channel", "desk")


def test_a_folder_that_cannot_be_written_is_said_and_completed_later(isp: Isp) -> None:
    isp.publish(MILD)
    document = isp.signed(OTHER)
    served = isp.web / "routers.signed"
    served.unlink()
    served.mkdir()
    with pytest.raises(UsageError, match="once it can be written, the same command completes it"):
        isp.do("publish", document, "--yes")
    served.rmdir()
    assert isp.do("publish", document, "--yes") == 0
    assert isp.current == Path(document).read_bytes()
    assert isp.do("publish", document, "--yes") == 1


def test_an_output_that_is_no_file_stays(isp: Isp, tmp_path: Path) -> None:
    """A device or a pipe would be replaced by a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="exists and is not a regular file"):
        isp.do("sign", isp.policy(MILD), "--output", str(pipe))
    assert pipe.is_fifo()
