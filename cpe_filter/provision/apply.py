"""A document is tried: laid over the router's policy, and confirmed, or taken back within a minute.

Composes judge, effective, the folders, trial and news. Must not know signatures, or how a document came. Whatever goes
wrong, what was in force stays, or comes back. One trial at a time, of whatever type.
"""

from __future__ import annotations

import os
import time

from cpe_filter.lean.files import already_running, lock_folder
from cpe_filter.outcome import EXIT_OK, EXIT_UNUSABLE, UsageError, complain
from cpe_filter.policy.model import PolicyError
from cpe_filter.provision import effective, news, place, trial
from cpe_filter.provision.folder import Folder, digest_of
from cpe_filter.provision.judge import CONTENT, RefusedError, judged
from cpe_filter.provision.news import APPLIED, BAD, REFUSED, ROLLED_BACK, TAKEN_BACK, Outcome
from cpe_filter.provision.overlay import OverlayError
from cpe_filter.provision.place import TYPES, Place, base_of, folder_of, recipient_of
from cpe_filter.signed import sequence, signify
from cpe_filter.signed.document import Document
from cpe_filter.signed.errors import AGENT, AUDIENCE, HEADER, SEQUENCE, TOML, TYPE, SignedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cpe_filter.policy.model import Policy

#: Exit status: nothing was fetched; the document was tried and taken back, or is not (yet) for this router.
EXIT_NOT_FETCHED, EXIT_TAKEN_BACK, EXIT_NOT_FOR_US = 1, 4, 5
#: Why a document was taken back, besides the names of trial's looks.
RELOAD, RESTART, FULL, TIME = "reload", "restart", "full", "time"
#: Refusals of a signed document that only a change of this router ends, or a later document. Not among them: what the
#: clock or the room on flash decides, and what was not signed by a key that is known here.
_SETTLED = (TOML, HEADER, TYPE, AGENT, AUDIENCE, SEQUENCE, BAD, CONTENT)
#: Seconds for which another process may hold the lock before this one gives up.
_LOCK_S = 2.0
_BEFORE = ".before"
_STOPPED = "the router restarted, or this program was stopped, twice while it was tried"


class BusyError(UsageError):
    """Another process tries a document now."""


def is_settled(outcome: Outcome) -> bool:
    """Whether the same document would end in the same way again, as long as nothing changes on this router
    (etags.Etags)."""
    return outcome.why in _SETTLED if outcome.result == REFUSED else outcome.why != FULL


def try_document(
    data: bytes, name: str, where: Place, reload: Callable[[], int], say: Callable[[str], None]
) -> Outcome:
    """Tries a document. name: for errors. reload: has the running filter read `where.out` again; 0 if it took it.

    A process that is killed leaves a trial that ends with its time, with this boot, or here. Raises `UsageError`,
    `BusyError`.
    """
    try:
        lock = _lock(where, _LOCK_S)
        try:
            _finish(where, reload)
            outcome = _judge_and_try(data, name, where, reload, say)
            news.note(where, outcome)
            return outcome
        finally:
            os.close(lock)
    except OSError as error:
        complain(f"{name}: {_problem(error, where.folder)} ({FULL}); the policy stays as it was")
        outcome = Outcome(EXIT_UNUSABLE, "", digest_of(data), 0, REFUSED, FULL)
        news.note(where, outcome)
        return outcome


def _lock(where: Place, wait_s: float) -> int:
    """Only one process changes what is in force: a descriptor, to be closed. Raises `BusyError`, OSError."""
    os.makedirs(where.folder, mode=0o700, exist_ok=True)
    lock = lock_folder(where.folder, wait_s)
    if lock < 0:
        raise BusyError(f"{where.folder}: {already_running(-1)}")
    return lock


def _judge_and_try(
    data: bytes, name: str, where: Place, reload: Callable[[], int], say: Callable[[str], None]
) -> Outcome:
    recipient = recipient_of(base_of(where)[1], where)
    try:
        made, policy = judged(data, where, recipient)
    except RefusedError as error:
        complain(f"{name}: {error} ({error.code}); the policy stays as it was")
        if error.made is None:
            return Outcome(EXIT_UNUSABLE, "", digest_of(data), 0, REFUSED, error.code)
        return _of(error.made, EXIT_UNUSABLE, REFUSED, error.code)
    called = f"{made.type} {made.sequence}"
    if not made.is_rolled_out_to(recipient.router):
        say(f"{called} is for {made.rollout_permille} of 1000 routers so far, and not for this one yet")
        return _of(made, EXIT_NOT_FOR_US)
    folder = folder_of(where, made.type)
    if _is_in_force(made, folder):
        say(f"{called} is in force already")
        return _of(made, EXIT_OK)
    _keep(where.out)
    try:
        return _try(data, made, policy, where, folder, reload, say)
    finally:
        _forget(where.out)


def _is_in_force(made: Document, folder: Folder) -> bool:
    """Whatever its comment, which is not signed: else a web server could have it tried again and again."""
    good = folder.good
    try:
        return good is not None and signify.signed_message(good).message == made.message
    except SignedError:
        return False


def _try(
    data: bytes,
    made: Document,
    policy: Policy,
    where: Place,
    folder: Folder,
    reload: Callable[[], int],
    say: Callable[[str], None],
) -> Outcome:
    called = f"{made.type} {made.sequence}"
    looker = trial.Looker(effective.policy_of(where), policy)
    try:
        folder.begin(data, place.boot(), place.uptime() + where.limit_s + 2 * trial.LOOK_S)
    except OSError as error:
        complain(f"{_problem(error, folder.path)} ({FULL}); the policy stays as it was")
        return _of(made, EXIT_UNUSABLE, REFUSED, FULL)
    failing, why = [RELOAD], RELOAD
    begun = time.monotonic()
    try:
        effective.write(where)
        if reload() == 0:
            say(f"{called} is tried for up to {where.limit_s:.0f} s")
            left_s = where.limit_s - (time.monotonic() - begun)  # a service may be slow, or hang
            failing = trial.wait(looker.before, looker.after, left_s, where.settle_s)
            why = failing[0] if failing else ""
        if not failing and folder.trial(place.boot(), place.uptime()) != data:
            failing, why = [TIME], TIME  # for other processes, too, it has ended
        if not failing:
            effective.policy_with(where, made)  # the router's own may have changed meanwhile
            taken = sequence.load(folder.taken)
            taken.take(made)
            folder.confirm(data)
            taken.save(folder.taken)
            say(f"{called} is in force")
            return _of(made, EXIT_OK, APPLIED)
    except OSError as error:
        problem = f"{_problem(error, folder.path)} ({FULL})"
        if folder.good == data:  # confirmed, but not synced, or its number is not noted, which is looked up in it
            complain(f"{called} is in force, but {problem}")
            return _of(made, EXIT_OK, APPLIED)
        failing, why = [problem], FULL
    except SignedError as error:
        failing, why = [f"{error} ({error.code})"], error.code
    except UsageError as error:  # the router's own policy has become one that cannot be used
        failing, why = [str(error)], RELOAD
    except (OverlayError, PolicyError) as error:
        failing, why = [f"{error} ({CONTENT})"], CONTENT
    # Room on flash says nothing about a document: it may be tried again.
    reason = "" if why == FULL else f"after it: {', '.join(failing)}"
    outcome = _of(made, EXIT_TAKEN_BACK, TAKEN_BACK, why)
    failing = [*_take_back(data, reason, where, folder, reload, outcome), *failing]
    complain(f"{called} was taken back: {', '.join(failing)}")
    return outcome


def _take_back(
    data: bytes,
    why: str,
    where: Place,
    folder: Folder,
    reload: Callable[[], int],
    outcome: Outcome,
) -> list[str]:
    """Even where the flash is full: the file is made without the document, which may then be tried again. Where it
    cannot be made, it is the one before again, if that is known. The trial is removed last: while it is there, this has
    to be done again. why: "" if the document may be tried again in any case. Returns what could not be done."""
    problems = []
    try:
        if why:
            folder.refuse(data, why)
    except OSError as error:
        problems.append(f"{_problem(error, folder.path)}: it may be tried again")
    news.note(where, outcome)  # before another program, in `reload`, finds that it ended
    try:
        effective.write(where, without=data)
    except (OSError, UsageError) as error:
        problems.append(_problem(error, where.out) if isinstance(error, OSError) else str(error))
        _restore(where.out)
    reload()
    try:
        folder.end()
    except OSError:
        pass  # it ends with its time
    return problems


def finish(where: Place, reload: Callable[[], int]) -> None:
    """Takes back what a process that was killed has left, before a download that may fail because of it. Where another
    process has the lock, that one does. Raises `UsageError`, OSError."""
    if not any(folder_of(where, kind).is_unfinished for kind in TYPES):
        return
    try:
        lock = _lock(where, 0.0)
    except BusyError:
        return
    try:
        _finish(where, reload)
    finally:
        os.close(lock)


def _finish(where: Place, reload: Callable[[], int]) -> None:
    """What a process left undone that was killed while it tried a document. The caller has the lock, so no other
    process does. The running filter may have the policy that was tried, and the file may have it."""
    for kind in TYPES:
        folder = folder_of(where, kind)
        if not folder.is_unfinished:
            continue
        left = folder.left(place.boot(), place.uptime(), stopped=True)
        if left is not None:
            outcome = _of_kept(left, kind, EXIT_TAKEN_BACK, TAKEN_BACK, RESTART)
            _take_back(left, _STOPPED if _is_twice(folder, left) else "", where, folder, reload, outcome)
            continue
        _note_unfinished(where, folder, kind)
        effective.write(where)
        reload()
        folder.end()


def _is_twice(folder: Folder, document: bytes) -> bool:
    try:
        return folder.was_cut(document)
    except OSError:
        return True


def _note_unfinished(where: Place, folder: Folder, kind: str) -> None:
    """A document was taken back, and whoever did it may have been killed before that was noted."""
    refused = folder.refused_trial
    if refused is not None:
        news.note(where, _of_kept(refused, kind, EXIT_TAKEN_BACK, TAKEN_BACK, RESTART))


def _keep(path: str) -> None:
    """A second name for the policy that `run` reads, under which it comes back where there is no room to write it."""
    _forget(path)
    try:
        os.link(path, path + _BEFORE)
    except OSError:
        pass  # there is none yet


def _restore(path: str) -> None:
    try:
        os.replace(path + _BEFORE, path)
    except OSError:
        pass


def _forget(path: str) -> None:
    try:
        os.unlink(path + _BEFORE)
    except OSError:
        pass


def _problem(error: OSError, path: str) -> str:
    """One line: the file, and what is wrong with it."""
    name = error.filename if isinstance(error.filename, str) else path
    return f"{name}: {error.strerror or error}"


def after_restart(where: Place) -> None:
    """A trial that was cut short has ended, and may begin again once. While another process tries a document nothing is
    done: that process ends it. Raises OSError."""
    if not os.path.isdir(where.folder):
        return
    try:
        lock = _lock(where, 0.0)
    except BusyError:
        return
    try:
        for kind in TYPES:
            folder = folder_of(where, kind)
            left = folder.left(place.boot(), place.uptime())
            if left is not None:
                outcome = _of_kept(left, kind, EXIT_TAKEN_BACK, TAKEN_BACK, RESTART)
                if folder.was_cut(left):
                    folder.refuse(left, _STOPPED)
                news.note(where, outcome)
                folder.end()
            else:
                _note_unfinished(where, folder, kind)
        news.note(where)
    finally:
        os.close(lock)


def roll_back(where: Place, kind: str, reload: Callable[[], int]) -> Outcome:
    """A person's decision: the document before counts again. Raises `UsageError`, `BusyError`."""
    folder = folder_of(where, kind)
    try:
        lock = _lock(where, _LOCK_S)
        try:
            _finish(where, reload)
            document = folder.good
            if document is None or folder.former in (None, document):  # the same where the power went in a rollback
                complain(f"{folder.path}: there is no document before the one in force")
                return Outcome(EXIT_UNUSABLE, kind)
            folder.roll_back()
            try:
                folder.refuse(document, "rolled back by a person")
            except OSError:
                pass  # its number was taken, so it does not come again
            outcome = _of_kept(document, kind, EXIT_OK, ROLLED_BACK)
            news.note(where, outcome)
            effective.write(where)
            return outcome._replace(code=reload())
        finally:
            os.close(lock)
    except OSError as error:
        complain(f"{_problem(error, folder.path)} ({FULL})")
        return Outcome(EXIT_UNUSABLE, kind)


def _of(made: Document, code: int, result: str = "", why: str = "") -> Outcome:
    return Outcome(code, made.type, made.digest, made.sequence, result, why)


def _of_kept(document: bytes, kind: str, code: int, result: str, why: str = "") -> Outcome:
    try:
        return _of(effective.kept(document), code, result, why)
    except SignedError:
        return Outcome(code, kind, digest_of(document), 0, result, why)
