"""A PostgreSQL of the test's own: in a temporary folder, as an unprivileged user, on a Unix socket only."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from tests.lab.net import DEADLINE_S


def _programs() -> Path | None:
    """Debian keeps them out of the PATH."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return folders[-1].parent if folders else None


def why_not() -> str:
    """Why there can be no cluster here; empty if there can."""
    if _programs() is None:
        return "PostgreSQL is not installed (apt-get install postgresql)"
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            return "PostgreSQL does not run as root, and there is no setpriv"
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return "PostgreSQL does not run as root, and there is no user postgres"
    return ""


class Cluster:
    """`with Cluster() as it:` a server that answers at `it.dsn()`; its folder goes with it."""

    def __init__(self) -> None:
        programs = _programs()
        assert programs is not None
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="cpe-pg-", dir="/tmp"))  # sockets' paths are short
        self._data = self._folder / "data"
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self._folder, user.pw_uid, user.pw_gid)

    def __enter__(self) -> Cluster:
        try:
            self._run("initdb", "-D", str(self._data), "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
            self.start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self._folder} -c max_connections=40"
        # Its crashes here are the server's, not the machine's: what it wrote is in the kernel's hands, on disk or not.
        # With fsync a start after a crash would first sync the whole folder, for minutes on a busy disk.
        options += " -c fsync=off"
        log = ["-l", str(self._folder / "log")]
        self._run("pg_ctl", "-D", str(self._data), "-w", "-t", f"{DEADLINE_S:.0f}", *log, "-o", options, "start")

    def stop(self, how: str = "fast") -> None:
        """how: `fast` ends sessions, `immediate` is a crash."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-t", f"{DEADLINE_S:.0f}", "-m", how, "stop", check=False)

    def create(self, database: str) -> str:
        """A new, empty database; its connection string."""
        self._run("createdb", "-h", str(self._folder), "-U", "tester", database)
        return self.dsn(database)

    def dsn(self, database: str = "postgres") -> str:
        return f"host={self._folder} user=tester dbname={database}"

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT, cwd="/", timeout=DEADLINE_S + 30,
        )  # fmt: skip
        if check and done.returncode:
            log = self._folder / "log"
            said = (done.stdout or b"").decode() + (log.read_text() if log.exists() else "")
            raise RuntimeError(f"{program}: {said[-2000:]}")
