"""A virtual machine with Debian's kernel on this machine's own files: `run` runs one command in it, as root.

The host's root is there by 9p, read-only, under a layer in memory: the same programs, the same virtual environment, the
same checkout; nothing that happens in the guest reaches the host but the command's output, and what it writes into a
folder that it is given for that. What the tests use all the
time (see `memory`) comes along in memory, since every look through 9p costs a round trip. No network. Emulated by
software (TCG), so it runs where KVM does not, some ten times slower. Knows qemu. Must not know tests.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab.net import PROJECT
from tests.vm import memory
from tests.vm.kernel import KERNEL

_INIT = Path(__file__).with_name("init.sh")
#: For the guest's first process; modprobe adds what these need.
_BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")


@dataclass(frozen=True)
class Ended:
    """What became of a command in the guest. `code` is None where it did not end, `console` then says why."""

    code: int | None
    output: str
    console: str
    seconds: float


def run(
    command: list[str],
    timeout_s: float,
    environment: dict[str, str] | None = None,
    kept: Path | None = None,
    counting: bool = False,
) -> Ended:
    """Boots the guest, runs `command` in the checkout, switches off. After `timeout_s` seconds the guest is ended.

    kept: a folder that the guest has as /kept and can write to, for what is to outlive it. counting: the guest's clock
    counts the instructions of its one processor, one a nanosecond, so CPU times do not depend on the host.
    """
    variables = [f"export {name}={shlex.quote(value)}\n" for name, value in (environment or {}).items()]
    script = "".join([*variables, f"cd {shlex.quote(str(PROJECT))}\n", f"exec {shlex.join(command)}\n"])
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cpe-filter-vm-") as name:
        folder = Path(name)
        with (folder / "initrd").open("wb") as file:
            _write_initrd(memory.Archive(file), script)
        # qemu goes where this process goes, however it ends.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *_qemu(folder, counting), *(_qemu_kept(kept) if kept else [])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        said = b""
        try:
            _, said = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            said = f"the guest was ended after {timeout_s:.0f} s\n".encode()
        finally:
            process.kill()
            process.wait()
            if process.stderr:
                process.stderr.close()
        output, console = (_text(folder / part) for part in ("output", "console"))
    found = re.search(r"^exit (\d+)$", console, re.MULTILINE)
    code = int(found[1]) if found else None
    return Ended(code, output, console + said.decode(errors="replace"), time.monotonic() - begun)


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace").replace("\r\n", "\n") if path.exists() else ""


def _qemu(folder: Path, counting: bool) -> list[str]:
    # Expedited RCU: namespaces come and go without waiting. The emulated counters agree, so reading the time is cheap.
    kernel = "console=ttyS0 quiet panic=-1 mitigations=off apparmor=0 audit=0 rcupdate.rcu_expedited=1 tsc=reliable"
    # On a busy host the first timer interrupts come late, and the kernel would panic: "IO-APIC + timer doesn't work".
    kernel += " no_timer_check"
    processors = ["-accel", "tcg,thread=multi,tb-size=512", "-smp", "2"]
    if counting:
        # Asleep, the clock goes with the host's: else it would jump to the next timeout whenever the host reads a file.
        processors = ["-accel", "tcg,thread=single,tb-size=512", "-smp", "1", "-icount", "shift=0"]
    return [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *(*processors, "-machine", "pc", "-cpu", "max", "-m", "2048"),
        *("-kernel", str(KERNEL / "vmlinuz"), "-initrd", str(folder / "initrd"), "-append", kernel),
        *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
        *("-serial", f"file:{folder / 'console'}", "-serial", f"file:{folder / 'output'}"),
    ]


def _qemu_kept(folder: Path) -> list[str]:
    return [
        *("-fsdev", f"local,id=kept,path={folder},security_model=none"),
        *("-device", "virtio-9p-pci,fsdev=kept,mount_tag=kept"),
    ]


def _write_initrd(archive: memory.Archive, script: str) -> None:
    (release,) = (KERNEL / "modules").iterdir()
    archive.add("init", _INIT.read_bytes(), 0o755)
    archive.add("bin/busybox", (KERNEL / "busybox").read_bytes(), 0o755)
    archive.add("command", script.encode())
    archive.add("modules", str((KERNEL / "modules").resolve()).encode())  # in a worktree `.vm` may be a link
    for name in ("modules.dep", *_with_dependencies(release)):
        archive.add(f"lib/modules/{release.name}/{name}", (release / name).read_bytes())
    memory.copy_programs(archive, "copies")
    folders = memory.copy_folders(archive, "copies")
    archive.add("folders", "".join(f"{folder}\n" for folder in folders).encode())
    archive.end()


def _with_dependencies(release: Path) -> set[str]:
    """The modules for the first process, and those that they need, as paths below the release's folder."""
    lines = (line.split(":") for line in (release / "modules.dep").read_text().splitlines())
    needs = {name: rest.split() for name, rest in lines}
    wanted = [name for name in needs if os.path.basename(name).split(".")[0] in _BOOT_MODULES]
    if len(wanted) != len(_BOOT_MODULES):
        raise RuntimeError(f"{KERNEL} lacks one of {', '.join(_BOOT_MODULES)}")
    found: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            wanted += needs[name]
    return found
