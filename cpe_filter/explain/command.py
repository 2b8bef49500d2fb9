"""`cpe-filter explain`: starts the responder, and gives up root once the port is bound.

Knows signals and privileges. Must not know SMTP.
"""

from __future__ import annotations

import signal

from cpe_filter.explain.ports import ExplainError
from cpe_filter.explain.responder import Responder
from cpe_filter.lean.log import err, log, notice
from cpe_filter.privileges import PrivilegeError, act_as

__all__ = ["ExplainError", "run"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.policy.model import Policy


def run(policy: Policy) -> int:
    """Explains until a signal stops it. Returns the exit code; raises `ExplainError` if it cannot start."""
    responder = Responder(policy, log)
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: responder.stop())
        # Python runs the handler only when poll returns: this byte makes it return.
        signal.set_wakeup_fd(responder.wake, warn_on_full_buffer=False)
        responder.bind()
        act_as(policy.explain.user, "[explain] user").drop()
        responder.listen()
        log(notice(f"explaining on port {policy.explain.port}, at most {policy.explain.max_connections} connections"))
        responder.loop()
    except PrivilegeError as error:
        raise ExplainError(str(error)) from None
    except ExplainError:
        raise
    except Exception as error:
        log(err(f"internal error, stopping: {type(error).__name__}: {error}"))
        return 70  # EX_SOFTWARE: the supervisor starts us again
    finally:
        signal.set_wakeup_fd(-1)
        responder.close()
    log(notice("stopped"))
    return 0
