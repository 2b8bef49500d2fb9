"""The ISP's machine with `cpe-filter policy`, for tests and for the simulated fleet, which has no pytest."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from cpe_filter.cli import commands
from cpe_filter.collect import signing

MILD = '# of the ISP\n[filter]\nmode = "monitor"\n[network]\nrelays = ["192.0.2.0/24", "198.51.100.7"]\n'
STRICT = '[filter]\nmode = "block"\n[network]\nrelays = ["192.0.2.0/24"]\n'
OTHER = (
    '[filter]\nmode = "monitor"\n[notice]\nprovider = "Example"\n[network]\nrelays = ["192.0.2.0/24", "198.51.100.7"]\n'
)


class Isp:
    """The ISP's machine: a key, the public keys as routers have them, a folder for the web server."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.key = signing.generate()
        self.secret = tmp / "isp.sec"
        self.secret.write_bytes(self.key.secret)
        self.secret.chmod(0o600)
        self.keys = tmp / "keys"
        (self.keys / "policy").mkdir(parents=True, mode=0o755)
        for folder in (self.keys, self.keys / "policy"):
            folder.chmod(0o755)
        self.trust(self.key, "one")
        self.web = tmp / "web"
        self.web.mkdir()
        self.made = 0
        self.detector = signing.generate()
        self.trust(self.detector, "tables", "detector")

    def trust(self, key: signing.SecretKey, name: str, purpose: str = "policy") -> None:
        folder = self.keys / purpose
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        path = folder / f"{name}.pub"
        path.write_bytes(key.public)
        path.chmod(0o644)

    def policy(self, text: str) -> str:
        self.made += 1
        path = self.tmp / f"policy{self.made}.toml"
        path.write_text(text)
        return str(path)

    def do(self, *words: str) -> int:
        """A command; --published, --keys and --key are added."""
        verb = words[0]
        more = ["--keys", str(self.keys)] if verb != "build" else []
        if "--published" not in words:
            more += ["--published", str(self.web)]
        if verb in ("publish", "halt", "sign") and not {"--unsigned", "--signature", "--key"} & set(words):
            more += ["--key", str(self.secret)]
        return commands.run(["policy", *words, *more])

    def signed(self, text: str, *words: str) -> str:
        path = str(self.tmp / f"{time.monotonic_ns()}.signed")
        assert self.do("sign", self.policy(text), "--output", path, *words) == 0
        return path

    def publish(self, text: str, permille: int = 1000, *words: str) -> int:
        steps = ("--permille", str(permille), "--salt", "spring") if permille < 1000 else ()
        return self.do("publish", self.signed(text, *steps), "--yes", *words)

    @property
    def channel(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.web / "index.json").read_text())["channels"]["routers"]
        return found

    @property
    def states(self) -> list[tuple[int, int, str]]:
        return [(one["sequence"], one["permille"], one["state"]) for one in self.channel["documents"]]

    @property
    def current(self) -> bytes:
        return (self.web / "routers.signed").read_bytes()
