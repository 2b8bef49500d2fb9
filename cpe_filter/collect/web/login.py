"""The page that asks for name and password, or leads to an identity provider.

Knows the form. Must not know users or sessions.
"""

from __future__ import annotations

from typing import NamedTuple

from cpe_filter.collect.password import MAX_LENGTH
from cpe_filter.collect.web.layout import attribute, frame, link, span


class Ways(NamedTuple):
    """How users log in: with name and password, by an identity provider."""

    passwords: bool = True
    sso: bool = False


BY_PASSWORD = Ways()


def page(
    target: str,
    failed: bool = False,
    wait_s: int = 0,
    logged_out: bool = False,
    problem: str = "",
    ways: Ways = BY_PASSWORD,
) -> str:
    """target: where a login leads, a path of this site. wait_s: seconds until another attempt is allowed. problem:
    another message, HTML."""
    message = ""
    if problem:
        message = f'<p class="message wrong" role="alert">{problem}</p>'
    elif wait_s:
        message = f'<p class="message wrong" role="alert">Too many attempts. Wait {span(wait_s)}.</p>'
    elif failed:
        message = '<p class="message wrong" role="alert">Name or password is wrong.</p>'
    elif logged_out:
        message = '<p class="message" role="status">You are logged out.</p>'
    first = ' aria-describedby="why"' if failed else ""
    message = message.replace('<p class="message wrong"', '<p id="why" class="message wrong"')
    body = (_sso(target, logged_out) if ways.sso else "") + (_form(target, first) if ways.passwords else "")
    return frame("Log in", f'<div class="login card">{message}<h1>cpe-filter fleet</h1>{body}</div>', None, False)


def _sso(target: str, logged_out: bool) -> str:
    more = ""
    if logged_out:
        more = '<p class="note"><a href="/logout/oidc">Log out of the identity provider, too</a></p>'
    path = link("/login/oidc", {"next": target if target != "/" else ""})
    return f'<p><a class="button" href="{path}">Log in with single sign-on</a></p>{more}'


def _form(target: str, first: str) -> str:
    return (
        '<form method="post" action="/login">'
        f'<input type="hidden" name="next" value="{attribute(target)}">'
        f'<div><label for="name">Name</label><input id="name" name="name" autocomplete="username" required '
        f'maxlength="64" autocapitalize="none" spellcheck="false"{first}></div>'
        f'<div><label for="password">Password</label><input id="password" name="password" type="password" '
        f'autocomplete="current-password" required maxlength="{MAX_LENGTH}"></div>'
        '<div><button class="main">Log in</button></div></form>'
    )
