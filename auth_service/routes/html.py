"""Pages without scripts, in the look of the log-in page; every word in them is escaped."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from html import escape

from fastapi.responses import HTMLResponse

from auth_service.exceptions import (
    InvalidGrant,
    InvalidRequest,
    RequestError,
    StoreUnavailable,
)

_TOO_MANY_STATUSES = frozenset({429, 503})
#: What a scope lets a program do, for people.
SCOPE_WORDS = {"connect": "open connections, and read and write messages in your name"}


def page(
    title: str,
    body: str,
    *,
    status: int = 200,
    targets: Collection[str] = (),
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """Return a page.

    Args:
        title: Plain text.
        body: HTML, with all that is not ours escaped.
        status: HTTP status.
        targets: Where a form's answer may send the browser, as Content-Security-Policy names it.
        headers: Further ones.
    """
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)} · Drawbridge</title>\n"
        '<link rel="icon" href="/static/auth/drawbridge.svg" type="image/svg+xml">\n'
        '<link rel="stylesheet" href="/static/auth/login.css">\n'
        "</head>\n<body>\n<main>\n"
        '<h1><img src="/static/auth/drawbridge.svg" alt="" width="40" height="40">Drawbridge</h1>\n'
        f"{body}\n</main>\n</body>\n</html>\n"
    )
    # Browsers apply form-action to where the answer leads as well.
    form_action = " ".join(["'self'", *targets])
    policy = (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none';"
        f" form-action {form_action}; frame-ancestors 'none'"
    )
    answer = HTMLResponse(text, status)
    answer.headers["Content-Security-Policy"] = policy
    # With "no-referrer" a browser would name no origin in a form's request either.
    answer.headers["Referrer-Policy"] = "same-origin"
    answer.headers.update(headers or {})
    return answer


def message(
    title: str, text: str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """Return a page that only says something."""
    body = f'<section class="card"><h2>{escape(title)}</h2><p>{escape(text)}</p></section>'
    return page(title, body, status=status, headers=headers)


def refusal(error: RequestError) -> HTMLResponse:
    """Return a page that says why a request is refused."""
    text = error.description[:1].upper() + error.description[1:] + "."
    return message("This does not work", text, status=error.status, headers=error.headers)


def consent(
    *,
    action: str,
    client_name: str,
    scopes: Collection[str],
    hidden: Mapping[str, str],
    note: str = "",
    username: str = "",
    error: str = "",
) -> str:
    """Write the form in which a user agrees by logging in, or refuses.

    Args:
        action: Where it is sent.
        client_name: Who asks.
        scopes: What is asked for.
        hidden: What is sent along.
        note: A sentence more about what is going on.
        username: What the user typed before.
        error: Why that was refused.
    """
    inputs = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">\n'
        for name, value in hidden.items()
    )
    items = "".join(f"<li>{escape(SCOPE_WORDS.get(one, one))}</li>" for one in sorted(scopes))
    described = ' aria-describedby="error"' if error else ""
    return (
        f'<form method="post" action="{escape(action)}" aria-labelledby="asks">\n{inputs}'
        f'<h2 id="asks">{escape(client_name)} asks for access</h2>\n'
        + (f"<p>{escape(note)}</p>\n" if note else "")
        + f"<p>If you log in here, it may:</p>\n<ul>{items}</ul>\n"
        f'<p id="error" role="alert">{escape(error)}</p>\n'
        '<label for="username">User name</label>\n'
        '<input id="username" name="username" type="text" autocomplete="username"'
        ' autocapitalize="none" spellcheck="false" maxlength="256" required autofocus'
        f' value="{escape(username)}"{described}>\n'
        '<label for="password">Password</label>\n'
        '<input id="password" name="password" type="password" autocomplete="current-password"'
        f' maxlength="256" required{described}>\n'
        '<button type="submit" name="decision" value="approve">Log in and allow</button>\n'
        '<button type="submit" name="decision" value="deny" class="quiet" formnovalidate>'
        "Refuse</button>\n</form>"
    )


def explain(error: RequestError) -> str:
    """Say to a user why a log-in was refused."""
    if isinstance(error, InvalidGrant | InvalidRequest):
        return "Wrong user name or password."
    if isinstance(error, StoreUnavailable) or error.status not in _TOO_MANY_STATUSES:
        return "Logging in is not possible at the moment."
    return "Too many log-ins at the moment. Please try again shortly."
