"""The engine: a packet in, a verdict and events out. Live filter, replay, tests and fuzzers run this same code.

`engine` composes inspect, detect and decide; `flows` has the table of connections, `judge` what they show about
devices, `responder_answers` what devices answer to the responder, `verdicts` the verdicts.

Knows how inspect, detect and decide hang together. Must not know files, sockets, clocks (time comes in with the packet)
or the kernel.
"""

from __future__ import annotations

from cpe_filter.engine.engine import DOUBTED, FORWARD, IGNORED, LOCAL_IN, LOCAL_OUT, REQUIRED, Engine
from cpe_filter.engine.flows import BUFFERED, FLOWS, HIDDEN_S, IDLE_S, LINGER_S, LOST_AFTER_S, Flow, Refused

__all__ = [
    "BUFFERED",
    "DOUBTED",
    "FLOWS",
    "FORWARD",
    "HIDDEN_S",
    "IDLE_S",
    "IGNORED",
    "LINGER_S",
    "LOCAL_IN",
    "LOCAL_OUT",
    "LOST_AFTER_S",
    "REQUIRED",
    "Engine",
    "Flow",
    "Refused",
]
