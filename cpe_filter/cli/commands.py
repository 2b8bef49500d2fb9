"""The commands: from parsed arguments to the module that does the work.

Knows the parsed arguments. Must not do a command's work: each command imports the module that does. `main` handles what
is raised here, exit codes and output.
"""

from __future__ import annotations

import argparse
import os

from cpe_filter.cli.parser import make_parser
from cpe_filter.cli.run import loaded, policy_of, run_filter
from cpe_filter.cli.values import port, seconds, whole
from cpe_filter.inputs import shown
from cpe_filter.lean.log import info, log
from cpe_filter.lean.log_output import one_line
from cpe_filter.outcome import EXIT_OK, EXIT_UNUSABLE, UsageError, complain, complain_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cpe_filter.cli.control import Filter
    from cpe_filter.policy.model import Policy
    from cpe_filter.uci.provision import Laid


def run(arguments: list[str]) -> int:
    """Does what the arguments say; returns the exit code. Wrong arguments and `--help` end the process."""
    options = make_parser().parse_args(arguments)
    return _WORK[options.work](options)


def _lacking(command: str, package: str) -> UsageError:
    return UsageError(f"'{command}' needs the package {package}, which is missing or incomplete")


def _command_explain(options: argparse.Namespace) -> int:
    try:
        return _explain(options)
    except ImportError:  # on a router it is in a package of its own
        raise _lacking("explain", "cpe-filter-explain") from None


def _explain(options: argparse.Namespace) -> int:
    from cpe_filter.explain import command as explain

    policy = policy_of(options.policy)
    if options.port is not None:
        policy = policy._replace(explain=policy.explain._replace(port=port(options.port)))
    try:
        return explain.run(policy)
    except explain.ExplainError as error:
        raise UsageError(str(error)) from None


def _command_send(options: argparse.Namespace) -> int:
    try:
        return _send(options)
    except ImportError:  # on a router it is in a package of its own, like TLS and HTTP, which nothing else needs
        raise _lacking("send", "cpe-filter-report") from None


def _send(options: argparse.Namespace) -> int:
    from cpe_filter.send import send

    try:
        return send.run(policy_of(options.policy), "once" if options.once else "wait" if options.wait else "")
    except send.NoReportsError as error:
        log(info(str(error)))
        return send.UNDELIVERED
    except send.CannotSendError as error:
        raise UsageError(str(error)) from None


def _command_enrol(options: argparse.Namespace) -> int:
    try:
        return _enrol(options)
    except ImportError:
        raise _lacking("enrol", "cpe-filter-report") from None


def _enrol(options: argparse.Namespace) -> int:
    from cpe_filter.enrol import command

    way = command.Way(
        options.url,
        options.ca or "",
        options.id or "",
        options.factory_key or "",
        options.factory_certificate or "",
        options.token or "",
    )
    return command.run(policy_of(options.policy), way, options.now)


def _command_report_show(options: argparse.Namespace) -> int:
    try:
        return _report_show(options)
    except ImportError:
        raise _lacking("report show", "cpe-filter-report") from None


def _report_show(options: argparse.Namespace) -> int:
    from cpe_filter.report import show as reported

    try:
        reported.show(policy_of(options.policy), options.json, print)
    except reported.NotShownError as error:
        raise UsageError(str(error)) from None
    return EXIT_OK


def _command_rules(options: argparse.Namespace) -> int:
    if options.remove:
        from cpe_filter.cli import control as ask

        return ask.rules_remove(_running(options)[0], options.force)
    if options.force:
        raise UsageError("--force needs --remove")
    from cpe_filter.enforce import ruleset
    from cpe_filter.enforce.ruleset_names import NATIVE, XTABLES
    from cpe_filter.policy.model import Policy

    policy = policy_of(options.policy) if options.policy else Policy()
    print(ruleset.render(policy, NATIVE if options.handoff == "native" else XTABLES), end="")
    return EXIT_OK


def _running(options: argparse.Namespace) -> tuple[Filter, Policy]:
    """The filter to talk to, and the policy that says where it is."""
    from cpe_filter.cli.control import Filter

    policy = policy_of(options.policy)
    return Filter(os.path.abspath(options.socket or policy.status.control_socket)), policy


def _command_reload(options: argparse.Namespace) -> int:
    from cpe_filter.cli import control as ask

    return ask.reload(_running(options)[0])


def _command_release(options: argparse.Namespace) -> int:
    from cpe_filter.cli import control as ask

    return ask.release(_running(options)[0], options.device, options.reason)


def _command_exempt_add(options: argparse.Namespace) -> int:
    from cpe_filter.cli import control as ask

    filter_, policy = _running(options)
    return ask.exempt_add(
        filter_, policy, options.device, options.destination, options.until, options.lasts, options.reason
    )


def _command_exempt_list(options: argparse.Namespace) -> int:
    from cpe_filter.cli import control as ask

    filter_, policy = _running(options)
    return ask.exempt_list(filter_, policy, os.path.abspath(options.policy) if options.policy else "", options.json)


def _command_exempt_remove(options: argparse.Namespace) -> int:
    from cpe_filter.cli import control as ask

    filter_, policy = _running(options)
    return ask.exempt_remove(filter_, policy, options.policy or "", options.ids, options.device, options.destination)


def _command_policy(options: argparse.Namespace) -> int:
    try:
        return _policy(options)
    except ImportError:
        raise _lacking("policy", "cpe-filter-report") from None


def _policy(options: argparse.Namespace) -> int:
    if options.verb in ("build", "sign", "publish", "halt"):
        return _policy_at_isp(options)
    from cpe_filter.cli.control import EXIT_NOT_RUNNING, Filter
    from cpe_filter.provision import command
    from cpe_filter.provision.place import Place

    if options.verb == "verify":
        return command.show(options.file, Place("", "", "", options.keys))
    if options.verb == "status":
        return command.status(Place("", "", options.folder, options.keys), options.json)
    place = Place(options.policy, options.out, options.folder, options.keys, options.model or "", options.region or "")
    if os.path.realpath(options.out) == os.path.realpath(options.policy):
        raise UsageError(f"--out is {shown(options.out)}, the router's own policy, which would be lost")
    if options.verb == "make":
        return command.make(place)
    filter_ = Filter(options.socket or policy_of(options.policy).status.control_socket)

    def reload() -> int:
        """Where no filter runs, the next one reads the file."""
        loaded = _digest_of(options.out)  # before, so that a file that is replaced meanwhile is read once more
        code = filter_.do({"do": "reload"})
        if code in (EXIT_OK, EXIT_NOT_RUNNING):
            _service_follows(options.service, loaded if code == EXIT_OK else "", _SERVICE_IN_TRIAL_S)
            return EXIT_OK
        return code

    if options.verb == "rollback":
        return command.roll_back(place, reload, options.type)
    if options.verb == "fetch":
        splay_s = float(whole(options.splay, "--splay", _MOST_SPLAY_S))
        code = command.fetch(options.url, options.ca or "", splay_s, place, reload)
    else:
        code = command.apply(options.file, place, reload)
    _service_follows(options.service)  # what was tried is in force now, or was taken back
    return code


def _digest_of(path: str) -> str:
    """Of a policy's file, as `uci prepare` names it."""
    from cpe_filter.lean.sha256 import sha256

    try:
        with open(path, "rb") as file:
            return str(sha256(file.read()).hexdigest()[:16])
    except OSError:
        return ""


#: Seconds over which fetches can be spread: a week.
_MOST_SPLAY_S = 7 * 86400
#: Seconds that a service has to follow. In a trial less: its time goes on meanwhile.
_SERVICE_S, _SERVICE_IN_TRIAL_S = 60.0, 25.0


def _service_follows(script: str | None, loaded: str = "", wait_s: float = _SERVICE_S) -> None:
    """Has the service follow what depends on the policy besides the filter: the responder, the page, a boot's rules.

    loaded: digest of the policy that the running filter has read already.
    """
    if not script:
        return
    from cpe_filter.enforce import process

    try:
        done = process.run(script, "reload", *([loaded] if loaded else []), timeout_s=wait_s)
        problem = "" if done.code == 0 else f"ended with {done.code}"
    except OSError as error:
        problem = error.strerror or "took too long"
    if problem:
        complain(f"{script} reload: {problem}")


def _policy_at_isp(options: argparse.Namespace) -> int:
    try:
        from cpe_filter.collect import policy_command
    except ImportError as error:
        raise UsageError(f"policy {options.verb} needs {error.name}: pip install 'cpe-filter[collector]'") from None
    return policy_command.run(options)


#: What the parser sets of every collector command.
_OF_COLLECTOR = ("command", "work", "config", "what")


def _command_collector(options: argparse.Namespace) -> int:
    try:
        from cpe_filter.collect import command
    except ImportError as error:
        raise UsageError(f"collector needs {error.name}: pip install 'cpe-filter[collector]'") from None
    options_of = {name: value for name, value in vars(options).items() if name not in _OF_COLLECTOR}
    return command.main(options.config, options.what, **options_of)


def _command_replay(options: argparse.Namespace) -> int:
    try:
        from cpe_filter.replay import command
    except ImportError as error:  # a router's package does not have it
        raise UsageError(f"replay needs {error.name}: pip install 'cpe-filter[replay]'") from None
    policy = policy_of(options.policy) if options.policy else None
    return command.run(options, policy, tuple(map(port, options.port)))


def _command_check(options: argparse.Namespace) -> int:
    try:
        policy, lacks = loaded(options.file)
    except UsageError:
        if options.service:
            raise
        from cpe_filter.policy import load

        wrong = load.problems(options.file)
        if not wrong:  # the file has changed in between
            raise
        complain_all(wrong)
        return EXIT_UNUSABLE
    if options.service:
        from cpe_filter.uci import service

        print("\n".join(service.lines(policy)))
        return EXIT_OK
    exemptions = f", {len(policy.exempt)} exemptions" if policy.exempt else ""
    mode, fail, relays = policy.filter.mode, policy.filter.fail, len(policy.network.relays)
    print(f"{one_line(options.file)}: good. Mode {mode}, fail {fail}, {relays} relays{exemptions}.")
    for line in lacks:
        print(line)
    return EXIT_OK


def _command_uci(options: argparse.Namespace) -> int:
    from cpe_filter.uci import command
    from cpe_filter.uci.tables import UciError

    try:
        return command.run(options.what, _documents if _has_documents() else None)
    except UciError as error:
        raise UsageError(str(error)) from None


def _has_documents() -> bool:
    """Whether the package that knows signed documents is installed. Nothing of it is loaded."""
    folder = os.path.dirname(os.path.dirname(__file__))
    return all(os.path.isdir(os.path.join(folder, room)) for room in ("provision", "signed"))


def _documents(base: str, folder: str) -> Laid:
    from cpe_filter.provision import laid

    return laid.over(base, folder)


def _command_status(options: argparse.Namespace) -> int:
    from cpe_filter.status import show

    path = options.file or policy_of(options.policy).status.status_file
    if options.watch is None:
        return show.once(path, options.json)
    return show.watch(path, options.json, seconds(options.watch, show.LEAST_S, show.MOST_S))


_WORK: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": lambda options: run_filter(options.policy),
    "replay": _command_replay,
    "rules": _command_rules,
    "check": _command_check,
    "uci": _command_uci,
    "explain": _command_explain,
    "status": _command_status,
    "collector": _command_collector,
    "policy": _command_policy,
    "send": _command_send,
    "enrol": _command_enrol,
    "report_show": _command_report_show,
    "reload": _command_reload,
    "release": _command_release,
    "exempt_add": _command_exempt_add,
    "exempt_list": _command_exempt_list,
    "exempt_remove": _command_exempt_remove,
}
