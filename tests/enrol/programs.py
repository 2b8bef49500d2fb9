"""strongSwan's `pki`, an EST client of others: Debian's packages, only unpacked into `.peers/enrol/` (not in git).

`python -m tests.enrol.programs` gets it. Installed it would bring the daemon along. Knows apt, dpkg and namespaces. It
looks for its plugins in /usr/lib/ipsec, so it runs in a mount namespace with the unpacked folder over /usr/lib: root,
and a kernel with overlayfs.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.lab.net import DEADLINE_S, PROJECT
from tests.unpacked import unpack

UNPACKED = PROJECT / ".peers" / "enrol"
#: EST came with 5.9.8, Debian 12. libtls is in the third package.
PACKAGES = (
    "strongswan-pki",
    "libstrongswan",
    "libcharon-extra-plugins",
    "libstrongswan-extra-plugins",
    "libstrongswan-standard-plugins",
)
_PLUGINS = "pem pkcs1 pkcs7 pkcs8 x509 revocation constraints pubkey openssl random nonce curl sha1 sha2 hmac drbg kdf"
_SETTINGS = f"pki {{\n load = {_PLUGINS}\n}}\nlibtls {{\n version_max = 1.3\n}}\n"
_RUN = 'mount -t overlay overlay -o "ro,lowerdir=$1/usr/lib:/usr/lib" /usr/lib && shift && exec "$@"'


def why_not() -> str:
    """Why it cannot run here; "" if it can."""
    if not (UNPACKED / "usr" / "bin" / "pki").exists():
        return f"strongSwan's pki is not in {UNPACKED.relative_to(PROJECT)} (python -m tests.enrol.programs)"
    if os.geteuid() != 0:
        return "not root"
    done = pki("--help")
    if "--est " not in done.stdout + done.stderr or "failed to load" in done.stderr:
        return f"strongSwan's pki does not run: {(done.stderr or done.stdout).strip()[:300]}"
    return ""


def pki(*words: str, data: bytes = b"", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs it. data: its stdin. Files of binary output are its own: stdout is text here."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as settings:
        settings.write(_SETTINGS)
        settings.flush()
        program = str(UNPACKED / "usr" / "bin" / "pki")
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", _RUN, "sh", str(UNPACKED), program, *words],
            input=data, capture_output=True, timeout=DEADLINE_S, cwd=folder,
            env={**os.environ, "STRONGSWAN_CONF": settings.name, "LC_ALL": "C"},
        )  # fmt: skip
    out, err = done.stdout.decode("latin-1"), done.stderr.decode("latin-1")
    return subprocess.CompletedProcess(shlex.join(words), done.returncode, out, err)


def get() -> str:
    """Downloads and unpacks it if it is missing; returns why that failed, or ""."""
    if (UNPACKED / "usr" / "bin" / "pki").exists():
        return ""
    return unpack(PACKAGES, UNPACKED)


if __name__ == "__main__":
    sys.exit(get() or None)
