"""An identity provider on this machine that signs whatever a test wants: right tokens, and all kinds of wrong ones."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import secrets
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwk, jwt

CLIENT, SECRET = "fleet", "a secret of the client"
Claims = dict[str, Any]


def new_key(number: str, kind: str = "EC") -> Any:
    if kind == "EC":
        return jwk.ECKey.generate_key("P-256", {"kid": number, "use": "sig"})
    if kind == "OKP":
        return jwk.OKPKey.generate_key("Ed25519", {"kid": number, "use": "sig"})
    return jwk.RSAKey.generate_key(2048, {"kid": number, "use": "sig"})


def signed(key: Any, claims: Claims, algorithm: str = "ES256", **header: Any) -> str:
    return str(jwt.encode({"alg": algorithm, "kid": key.kid, **header}, claims, key, algorithms=[algorithm]))


class Issuer:
    """`with Issuer() as it:`. change: applied to the claims. sign: claims -> the ID token. document: changes to the
    discovery document. user: claims of the one who logs in; userinfo: what that endpoint says, None for not there."""

    def __init__(self) -> None:
        self.key = new_key("k1")
        self.published = [self.key]
        self.user: Claims = {"sub": "u-1", "preferred_username": "boris", "groups": ["abuse-desk", "other"]}
        self.change: Callable[[Claims], Claims] = lambda claims: claims
        self.sign: Callable[[Claims], str] = lambda claims: signed(self.key, claims)
        self.document: Claims = {}
        self.userinfo: Claims | None = None
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.answer: tuple[int, bytes] | None = None

    def __enter__(self) -> Issuer:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._get(self)

            def do_POST(self) -> None:
                outer._post(self)

            def log_message(self, *_words: Any) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def authorize(self, url: str) -> dict[str, str]:
        """What a browser brings to the callback after its user has logged in at `url`."""
        parts = urlsplit(url)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.url}/auth"
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert query["client_id"] == CLIENT
        code = secrets.token_hex(8)
        self.codes[code] = query
        return {"code": code, "state": query["state"]}

    def _get(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        path = urlsplit(handler.path).path
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            value: Any = {
                "issuer": self.url,
                **{f"{name}_endpoint": f"{self.url}/{at}" for name, at in (
                    ("authorization", "auth"), ("token", "token"), ("end_session", "end"))},
                "jwks_uri": f"{self.url}/jwks",
                "response_types_supported": ["code"],
                **({"userinfo_endpoint": f"{self.url}/me"} if self.userinfo is not None else {}),
                **self.document,
            }  # fmt: skip
            _send(handler, 200, value)
        elif path == "/jwks":
            _send(handler, 200, {"keys": [key.as_dict(private=False) for key in self.published]})
        elif path == "/me" and handler.headers["authorization"] == "Bearer access":
            _send(handler, 200, self.userinfo)
        else:
            _send(handler, 404, {})

    def _post(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        form = parse_qs(handler.rfile.read(int(handler.headers["content-length"])).decode())
        if self.answer is not None:
            handler.send_response(self.answer[0])
            handler.send_header("content-length", str(len(self.answer[1])))
            handler.end_headers()
            handler.wfile.write(self.answer[1])
            return
        pair = base64.b64encode(urlencode({"": CLIENT})[1:].encode() + b":" + urlencode({"": SECRET})[1:].encode())
        query = self.codes.pop(form["code"][0], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"][0].encode()).digest())
        good = (
            query is not None
            and challenge.decode().rstrip("=") == query["code_challenge"]
            and form["redirect_uri"][0] == query["redirect_uri"]
            and handler.headers["authorization"] == f"Basic {pair.decode()}"
        )
        if not good or query is None:
            _send(handler, 400, {"error": "invalid_grant"})
            return
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": query["nonce"], **self.user}
        token = self.sign(self.change(claims))
        _send(handler, 200, {"access_token": "access", "token_type": "Bearer", "id_token": token})


def _send(handler: http.server.BaseHTTPRequestHandler, status: int, value: Any) -> None:
    data = json.dumps(value).encode()
    handler.send_response(status)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)
