"""`cpe-filter policy`: a signed policy is verified, tried, confirmed or taken back, and shown.

    verify FILE    whose signature it has, what is in it, and whether it is for this router
    fetch URL      get the document there, and apply it if it is new
    apply FILE     try it: lay it over the router's policy, reload, look; confirm it, or take it back within a minute
    make           write the policy that `run` reads: the router's own with the document in force over it
    status         what is in force, tried and refused
    rollback       put the document before in force again

Composes signed, overlay, folder and trial. Must not know how a signature is verified, or how a policy is loaded.
Whatever goes wrong, what was in force stays, or comes back.
"""

from __future__ import annotations

import os
import time

from cpe_filter import __version__, toml_file
from cpe_filter.lean.atomic_file import AtomicFile
from cpe_filter.lean.files import already_running, lock_folder
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.outcome import EXIT_OK, EXIT_UNUSABLE, UsageError, complain
from cpe_filter.policy import file as policy_file
from cpe_filter.policy.model import Policy, PolicyError
from cpe_filter.provision import fetch as getting
from cpe_filter.provision import overlay, trial
from cpe_filter.provision.fetch import splay
from cpe_filter.provision.folder import MAX_DOCUMENT, Folder, digest_of
from cpe_filter.report.certificate import MOST_BYTES, CertificateError, parse
from cpe_filter.report.clock_state import synchronised
from cpe_filter.signed import document as documents
from cpe_filter.signed import keys, sequence, signify
from cpe_filter.signed.document import POLICY_BUNDLE, Document, Recipient
from cpe_filter.signed.errors import SEQUENCE, TYPE, SignedError
from cpe_filter.signed.verify import authenticated, verify
from cpe_filter.uci.tables import toml

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Exit status: nothing was fetched; the document was tried and taken back, or is not (yet) for this router.
EXIT_NOT_FETCHED, EXIT_TAKEN_BACK, EXIT_NOT_FOR_US = 1, 4, 5
_BOOT = "/proc/sys/kernel/random/boot_id"


class Place(NamedTuple):
    """base: the router's own policy. out: the one that `run` reads. folder: of documents. keys: of public keys.

    model, region: of this router, for audiences. limit_s, settle_s: of a trial.
    """

    base: str
    out: str
    folder: str
    keys: str
    model: str = ""
    region: str = ""
    limit_s: float = trial.LIMIT_S
    settle_s: float = trial.SETTLE_S


class RefusedError(Exception):
    """A document that is not tried. code: a word for reports; one line."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def boot() -> str:
    """This boot's id; another one after each restart of the kernel."""
    with open(_BOOT, encoding="ascii") as file:
        return file.read(64).strip()


def uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


# ── verify ──────────────────────────────────────────────────────────────────────────────────────────


def show(path: str, place: Place) -> int:
    """`policy verify FILE`."""
    data = _document(path)
    try:
        made = authenticated(data, keys.load(place.keys), POLICY_BUNDLE)
        if made.type != POLICY_BUNDLE:
            raise SignedError(TYPE, f"it is of type {made.type}; expected {POLICY_BUNDLE}")
    except SignedError as error:
        complain(f"{path}: {error} ({error.code})")
        return EXIT_UNUSABLE
    print(f"{path}: good. Policy {made.sequence}, signed by key {made.key.hex()}, digest {made.digest}")
    print(f"  issued {_date(made.issued)}, expires {_date(made.expires)}")
    print(f"  for {', '.join(made.audience)}; {made.rollout_permille} of 1000")
    for table, values in made.content.items():
        names = ", ".join(values) if isinstance(values, dict) else f"{len(values)} entries"
        print(f"  [{table}] {names}")
    return EXIT_OK


def judged(data: bytes, place: Place, folder: Folder) -> Document:
    """A document that may be tried here and now. Raises `RefusedError`, OSError."""
    now = time.time() if synchronised() else None
    base = _base(place)
    try:
        made = verify(data, keys.load(place.keys), POLICY_BUNDLE, _recipient(base, place), now)
        known = folder.bad().get(made.digest)
        if known is not None:
            raise RefusedError("bad", f"it was tried before and taken back: {known}")
        good = folder.good
        if good is None or digest_of(good) != made.digest:
            sequence.load(folder.taken).check(made)
            _later(made, good)
    except SignedError as error:
        raise RefusedError(error.code, str(error)) from None
    return made


def _later(made: Document, good: bytes | None) -> None:
    """Refuses a document that is older than the one in force, also where its number could not be noted before a power
    cut. Raises `SignedError`."""
    try:
        last = _kept(good).sequence if good is not None else 0
    except SignedError:
        return
    if made.sequence <= last:
        raise SignedError(SEQUENCE, f"its sequence is {made.sequence}; {last} is in force")


# ── apply ───────────────────────────────────────────────────────────────────────────────────────────


def apply(path: str, place: Place, reload: Callable[[], int], say: Callable[[str], None] = print) -> int:
    """`policy apply FILE`. reload: has the running filter read `place.out` again; 0 if it took it.

    Returns the exit code. A process that is killed leaves a trial that ends with its time, or with this boot.
    """
    return _try(_document(path), path, place, reload, say)


def fetch(
    url: str, ca: str, splay_s: float, place: Place, reload: Callable[[], int], say: Callable[[str], None] = print
) -> int:
    """`policy fetch`: gets the document at a URL, and applies it if it is another one than the last."""
    base = _base(place)
    router = _recipient(base, place).router
    if splay_s:
        time.sleep(splay(router, splay_s))
    os.makedirs(place.folder, mode=0o700, exist_ok=True)
    folder = Folder(place.folder)
    try:
        found = getting.fetch(url, ca, policy_file.build(base, place.base).report.user, folder.etag(url))
    except getting.FetchError as error:
        complain(f"{error}; the policy stays as it was")
        return EXIT_NOT_FETCHED
    if found.document is None:
        say(f"{url}: nothing new")
        return EXIT_OK
    code = _try(found.document, url, place, reload, say)
    folder.note_etag(url, found.etag)
    return code


def _try(data: bytes, name: str, place: Place, reload: Callable[[], int], say: Callable[[str], None]) -> int:
    folder = Folder(place.folder)
    os.makedirs(place.folder, mode=0o700, exist_ok=True)
    lock = lock_folder(place.folder, 2.0)
    if lock < 0:
        raise UsageError(f"{place.folder}: {already_running(-1)}")
    try:
        return _apply(data, name, place, folder, reload, say)
    finally:
        os.close(lock)


def _apply(
    data: bytes, path: str, place: Place, folder: Folder, reload: Callable[[], int], say: Callable[[str], None]
) -> int:
    _after_restart(folder)
    try:
        made = judged(data, place, folder)
        policy = _policy(place, made)
    except RefusedError as error:
        complain(f"{path}: {error} ({error.code}); the policy stays as it was")
        return EXIT_UNUSABLE
    if not made.is_rolled_out_to(_recipient(_base(place), place).router):
        say(f"policy {made.sequence} is for {made.rollout_permille} of 1000 routers so far, and not for this one yet")
        return EXIT_NOT_FOR_US
    if data == folder.good:
        say(f"policy {made.sequence} is in force already")
        return EXIT_OK
    before = trial.look(policy_of(place, folder))
    try:
        folder.begin(data, boot(), uptime() + place.limit_s + 2 * trial.LOOK_S)
    except OSError as error:
        complain(f"{place.folder}: {error.strerror}; the policy stays as it was")
        return EXIT_UNUSABLE
    failing = ["reload"]
    try:
        write(place, folder)
        if reload() == 0:
            say(f"policy {made.sequence} is tried for up to {place.limit_s:.0f} s")
            failing = trial.wait(before, lambda: trial.look(policy), place.limit_s, place.settle_s)
        if not failing:
            taken = sequence.load(folder.taken)
            taken.take(made)
            folder.confirm(data)
            taken.save(folder.taken)
            say(f"policy {made.sequence} is in force")
            return EXIT_OK
    except (OSError, SignedError) as error:
        failing = [str(error)]
    _take_back(data, f"after it: {', '.join(failing)}", place, folder, reload)
    complain(f"policy {made.sequence} was taken back: {', '.join(failing)}")
    return EXIT_TAKEN_BACK


def _take_back(data: bytes, why: str, place: Place, folder: Folder, reload: Callable[[], int]) -> None:
    """Even where the flash is full: the trial then ends with its time, and the file is made without it."""
    try:
        folder.refuse(data, why)
    except OSError as error:
        complain(f"{folder.path}: {error.strerror}; the policy may be tried again")
    try:
        write(place, folder, without=data)
    except OSError as error:
        complain(f"{place.out}: {error.strerror}")
    reload()


def _after_restart(folder: Folder) -> None:
    """A trial that was cut short is not begun again."""
    left = folder.left(boot(), uptime())
    if left is not None:
        folder.refuse(left, "the router restarted, or this program was stopped, while it was tried")


def make(place: Place) -> int:
    """`policy make`: before `run` starts, and whenever the router's own policy has changed."""
    folder = Folder(place.folder)
    _after_restart(folder)
    return EXIT_OK if write(place, folder) else EXIT_TAKEN_BACK


# ── the policy that counts ──────────────────────────────────────────────────────────────────────────


def write(place: Place, folder: Folder, without: bytes = b"") -> bool:
    """Writes the policy for `run`. without: a document that does not count. False: the router's own alone, because
    the document in force cannot be laid over it any more (the router's own has changed). Raises OSError, `UsageError`.
    """
    data, _, problem = _in_force(place, folder, without)
    if problem:
        complain(f"the ISP's policy is left out: {problem}")
    os.makedirs(os.path.dirname(place.out) or ".", exist_ok=True)
    made = AtomicFile(place.out)
    made.write(toml(data).encode())
    made.finish()
    return not problem


def policy_of(place: Place, folder: Folder) -> Policy:
    """The policy that counts now; the router's own if the document cannot be laid over it."""
    return _in_force(place, folder)[1]


def _in_force(place: Place, folder: Folder, without: bytes = b"") -> tuple[dict[str, Any], Policy, str]:
    """The tables that count now, the policy of them, and why the document is left out; "" if it is not."""
    base, problem = _base(place), ""
    document = folder.in_force(boot(), uptime())
    if document == without:
        document = folder.good
    if document is not None and document != without:
        try:
            data = overlay.merged(base, _kept(document).content)
            return data, policy_file.build(data, place.base), ""
        except (SignedError, overlay.OverlayError, PolicyError) as error:
            problem = str(error)
    return base, policy_file.build(base, place.base), problem


def _policy(place: Place, made: Document) -> Policy:
    """The policy with a document. Raises `RefusedError`."""
    try:
        return policy_file.build(overlay.merged(_base(place), made.content), "policy")
    except (overlay.OverlayError, PolicyError) as error:
        raise RefusedError("content", str(error).removeprefix("policy: ")) from None


def _kept(document: bytes) -> Document:
    """A document of the folder, which was verified before it was put there; no other user can write there.

    Neither its dates nor its key matter any more: what expires, and what an old key has signed, stays in force until
    another document takes its place. Raises `SignedError` for one that this version cannot read.
    """
    return documents.parse(signify.signed_message(document).message, __version__)


# ── status, rollback ────────────────────────────────────────────────────────────────────────────────


def status(place: Place) -> int:
    """`policy status`."""
    folder = Folder(place.folder)
    tried = folder.trial(boot(), uptime())
    for name, document in (("in force", folder.good), ("tried now", tried), ("before", folder.former)):
        print(f"{name + ':':<11}{_named(document)}")
    for digest, why in folder.bad().items():
        print(f"{'refused:':<11}{digest}  {why}")
    return EXIT_OK


def roll_back(place: Place, reload: Callable[[], int]) -> int:
    """`policy rollback`: a person's decision. The document before counts again."""
    folder = Folder(place.folder)
    document = folder.good
    former = folder.roll_back()
    if former is None or document is None:
        complain(f"{place.folder}: there is no document before the one in force")
        return EXIT_UNUSABLE
    folder.refuse(document, "rolled back by a person")
    write(place, folder)
    print(f"in force: {_named(former)}")
    return reload()


def _named(document: bytes | None) -> str:
    if document is None:
        return "none"
    try:
        made = _kept(document)
    except SignedError as error:
        return f"{digest_of(document)}  not usable: {error}"
    return f"policy {made.sequence}, {made.digest}, issued {_date(made.issued)}, expires {_date(made.expires)}"


# ── files ───────────────────────────────────────────────────────────────────────────────────────────


def _document(path: str) -> bytes:
    """Raises `UsageError`."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_DOCUMENT:
        raise UsageError(f"{path}: too large; allowed: at most {MAX_DOCUMENT} bytes")
    return data


def _base(place: Place) -> dict[str, Any]:
    """The router's own policy. Raises `UsageError`."""
    try:
        data = toml_file.load(place.base, PolicyError)
        policy_file.build(data, place.base)
    except PolicyError as error:
        raise UsageError(str(error)) from None
    return data


def _recipient(base: dict[str, Any], place: Place) -> Recipient:
    """This router, by the name in its certificate; "" without one."""
    path = policy_file.build(base, place.base).report.certificate
    name = ""
    try:
        with open(path, "rb") as file:
            name = parse(file.read(MOST_BYTES)).name
    except (OSError, CertificateError):
        pass
    return Recipient(name, place.model, place.region)


def _date(posix: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(posix))
