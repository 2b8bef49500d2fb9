"""Suricata in NFQUEUE mode as one would tune it for a small router: SMTP only, small tables, workers, a few rules.

Knows its command line and configuration. What is not named here is off or at its default.
"""

from __future__ import annotations

import shutil
from pathlib import Path

#: Seven rules about SMTP: what its parser finds, without a rule set of thousands.
_RULES = "".join(
    f'alert smtp any any -> any any (msg:"{name}"; flow:established; app-layer-event:smtp.{name}; sid:{number};)\n'
    for number, name in enumerate(
        (
            "invalid_reply",
            "unable_to_match_reply_with_request",
            "max_command_line_len_exceeded",
            "max_reply_line_len_exceeded",
            "invalid_pipelined_sequence",
            "bdat_chunk_len_exceeded",
            "no_server_welcome_message",
        ),
        1,
    )
)

_CONFIGURATION = """%YAML 1.1
---
vars:
  address-groups: {HOME_NET: "any", EXTERNAL_NET: "any"}
  port-groups: {SMTP_PORTS: "25"}
default-log-dir: FOLDER
stats: {enabled: no}
outputs: []
logging: {default-log-level: error, outputs: [{console: {enabled: no}}]}
nfq: {mode: accept, fail-open: yes, batchcount: 20}
threading: {set-cpu-affinity: no, detect-thread-ratio: 0.5}
max-pending-packets: 128
runmode: workers
detect: {profile: low}
mpm-algo: ac-ks
# Inline it would drop what its tables have no room for; a mail filter that fails open does not.
exception-policy: ignore
flow: {memcap: 16mb, hash-size: 4096, prealloc: 512, emergency-recovery: 30}
defrag: {memcap: 1mb, hash-size: 256, trackers: 256, max-frags: 256, prealloc: no}
stream:
  memcap: 16mb
  prealloc-sessions: 256
  inline: auto
  reassembly: {memcap: 4mb, depth: 64kb, segment-prealloc: 256}
host: {hash-size: 256, prealloc: 64, memcap: 1mb}
ippair: {hash-size: 256, prealloc: 64, memcap: 1mb}
app-layer:
  protocols:
    smtp:
      enabled: yes
      mime: {decode-mime: no}
classification-file: FOLDER/classification.config
reference-config-file: FOLDER/reference.config
"""


def why_not() -> str:
    """Why Suricata is left out; "" where it is installed."""
    return (
        "" if shutil.which("suricata") else "not installed (package suricata; Debian 12 has it in bookworm-backports)"
    )


def command(folder: Path, queue: int) -> list[str]:
    """Writes its files to a folder; returns the command that runs it on a queue."""
    for name, text in (
        ("suricata.yaml", _CONFIGURATION.replace("FOLDER", str(folder))),
        ("smtp.rules", _RULES),
        ("classification.config", ""),
        ("reference.config", ""),
    ):
        (folder / name).write_text(text)
    words = ["--runmode", "workers", "-q", str(queue), "-S", str(folder / "smtp.rules"), "-l", str(folder)]
    return ["suricata", "-c", str(folder / "suricata.yaml"), *words]
