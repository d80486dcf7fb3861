"""The pages that are not Gradio's: locked, log-in, invitation. Plain HTML, nothing from outside."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from distill_studio.web.hub_sign_in import START

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.6 system-ui, sans-serif; display: grid; place-items: center;
  min-height: 100vh; margin: 0; background: Canvas; color: CanvasText; }
main { width: min(26rem, 100%); box-sizing: border-box; padding: 2rem; }
h1 { font-size: 1.4rem; margin: 0 0 .5rem; }
p { margin: .5rem 0; } code { background: color-mix(in srgb, CanvasText 10%, Canvas);
  padding: .1em .35em; border-radius: 4px; }
label { display: block; margin: 1rem 0 .25rem; font-weight: 600; }
input { font: inherit; width: 100%; box-sizing: border-box; padding: .55rem .7rem;
  border: 1px solid color-mix(in srgb, CanvasText 35%, Canvas); border-radius: 8px; }
button, a.go { font: inherit; font-weight: 600; margin-top: 1.25rem; width: 100%;
  padding: .6rem; border: 0; border-radius: 8px; background: #4f46e5; color: white;
  cursor: pointer; }
a.go { display: block; box-sizing: border-box; text-align: center; text-decoration: none; }
.or { display: flex; align-items: center; gap: .75rem; margin: 1.5rem 0 0;
  color: color-mix(in srgb, CanvasText 70%, Canvas); font-size: .88rem; }
.or::before, .or::after { content: ""; flex: 1; border-top: 1px solid
  color-mix(in srgb, CanvasText 25%, Canvas); }
.or + form button { background: transparent; color: light-dark(#4338ca, #c7d2fe);
  border: 1px solid currentColor; }
:focus-visible { outline: 3px solid #818cf8; outline-offset: 2px; }
[role=alert] { color: light-dark(#b91c1c, #f87171); font-weight: 600; }
.why { border-left: 3px solid #6366f1; padding-left: .75rem; margin: 1rem 0; }
.small { font-size: .88rem; color: color-mix(in srgb, CanvasText 70%, Canvas); }
svg { width: 40px; height: 40px; color: light-dark(#4f46e5, #a5b4fc); }
a { color: light-dark(#4338ca, #a5b4fc); }
"""
_LOGO = (
    '<svg viewBox="0 0 32 32" fill="none" stroke="currentColor" stroke-width="2.4"'
    ' stroke-linejoin="round" stroke-linecap="round" aria-hidden="true"><path d="M12 3h8M13.5 3v8L6'
    ' 25.2A2.6 2.6 0 0 0 8.3 29h15.4a2.6 2.6 0 0 0 2.3-3.8L18.5 11V3"/><path d="M9.5 20h13"/></svg>'
)

# Why somebody who was in has to log in.
WHY = {
    "first": "This studio has its first account now: from here on everybody logs in, you included. "
    "Log in with the account that you have just made."
}


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>{_LOGO}{body}</main></body></html>"
    )


LOCKED_PAGE = _page(
    "Distill Studio is locked",
    "<h1>Distill Studio is locked</h1>"
    "<p>It can be reached from other machines and nothing keeps strangers out, so it shows only "
    "this page.</p><p>If it is yours: set a password in the variable "
    "<code>DISTILL_STUDIO_PASSWORD</code> and start it again, make an account with "
    "<code>python -m distill_studio user add NAME --role owner</code>, or let it listen on "
    "<code>127.0.0.1</code> only. On a Space the variable is a secret in the Space's settings; "
    "with <code>hf_oauth: true</code> in its README its author signs in with Hugging Face.</p>",
)


@dataclass(frozen=True)
class WaysIn:
    """What the log-in page offers.

    Args:
        hub: Signing in with Hugging Face.
        passwords: A name and a password.
        in_frame: Whether the page is in another site's frame: Hugging Face's own page opens in a
            tab then, where every browser keeps the cookies.
    """

    hub: bool = False
    passwords: bool = True
    in_frame: bool = False


def login_page(
    next_path: str,
    problem: str = "",
    *,
    user: str = "",
    ways: WaysIn | None = None,
    why: str = "",
) -> str:
    """The log-in form; `next_path` is where a success leads, `why` a key of `WHY`."""
    ways = ways or WaysIn()
    parts = [
        "<h1>Distill Studio</h1><p>Your name goes with every decision you make.</p>",
        f'<p class="why" role="status">{WHY[why]}</p>' if why in WHY else "",
        _alert(problem),
    ]
    if ways.hub:
        parts.append(_hub_button(next_path, in_frame=ways.in_frame))
    if ways.hub and ways.passwords:
        parts.append('<p class="or">or with a name and a password</p>')
    if ways.passwords:
        parts.append(_password_form(next_path, user, takes_focus=bool(user) or not ways.hub))
    help_line = (
        "No account, or the password is gone? An owner of this studio can send you a link that "
        "sets a new one."
        if ways.passwords
        else "The owners of this studio say who may come in."
    )
    parts.append(f'<p class="small">{help_line}</p>')
    return _page("Log in to Distill Studio", "".join(parts))


def _hub_button(next_path: str, *, in_frame: bool) -> str:
    href = html.escape(f"{START}?next={quote(next_path, safe='')}", quote=True)
    tab = ' target="_blank" rel="noopener"' if in_frame else ""
    where = '<p class="small">It opens in a tab of its own, and so does the studio.</p>'
    return (
        f'<a class="go" href="{href}"{tab}>Sign in with Hugging Face</a>{where if in_frame else ""}'
    )


def _password_form(next_path: str, user: str, *, takes_focus: bool) -> str:
    focus = ("", " autofocus") if user else (" autofocus" if takes_focus else "", "")
    return (
        '<form method="post" action="/login">'
        f'<input type="hidden" name="next" value="{html.escape(next_path, quote=True)}">'
        '<label for="user">Your name</label>'
        '<input id="user" name="user" autocomplete="username" required maxlength="100"'
        f' value="{html.escape(user, quote=True)}"{focus[0]}>'
        '<label for="password">Password</label>'
        '<input id="password" name="password" type="password" autocomplete="current-password"'
        f" required{focus[1]}><button>Log in</button></form>"
    )


def refused_page(reason: str, hint: str, whom: Sequence[str], *, signed_in_as: str = "") -> str:
    """For somebody who is who they say and may not come in: whom to ask."""
    who = (
        f"<p>Hugging Face says you are <strong>{html.escape(signed_in_as)}</strong>.</p>"
        if signed_in_as
        else ""
    )
    names = ", ".join(f"<strong>{html.escape(name)}</strong>" for name in whom)
    ask = f"Ask {names}" if names else "Ask whoever runs this studio"
    again = '<p><a href="/login">Log in as somebody else</a></p>' if signed_in_as else ""
    return _page(
        "No way in",
        f"<h1>You may not come in yet</h1>{who}<p>{html.escape(reason)} {html.escape(hint)}</p>"
        f"<p>{ask} to let you in.</p>{again}",
    )


def failed_page(problem: str, hint: str) -> str:
    """What a sign-in that did not work shows."""
    return _page(
        "Signing in did not work",
        f"<h1>Signing in did not work</h1>{_alert(problem)}<p>{html.escape(hint)}</p>"
        '<p><a href="/login">Back to the log-in</a> &middot; '
        '<a href="/login" target="_blank" rel="noopener">in a tab of its own</a></p>',
    )


def join_page(code: str, name: str, problem: str = "", *, shortest: int = 10) -> str:
    """The form of an invitation: choose a password."""
    return _page(
        "Join Distill Studio",
        f"<h1>Welcome, {html.escape(name)}</h1>"
        "<p>Choose a password. Every decision you make here is kept under your name.</p>"
        f'{_alert(problem)}<form method="post" action="/join">'
        f'<input type="hidden" name="code" value="{html.escape(code, quote=True)}">'
        f'<input type="hidden" name="user" autocomplete="username" value="{html.escape(name)}">'
        '<label for="password">Password</label>'
        '<input id="password" name="password" type="password" autocomplete="new-password"'
        f' minlength="{shortest}" required autofocus aria-describedby="rule">'
        f'<p class="small" id="rule">{shortest} characters or more; four or five words in a row '
        'are easy to keep in mind.</p><label for="again">The same again</label>'
        '<input id="again" name="again" type="password" autocomplete="new-password" required>'
        "<button>Set the password and log in</button></form>",
    )


def lapsed_page() -> str:
    """What an invitation shows that was used or has lapsed."""
    return _page(
        "Invitation",
        "<h1>This invitation does not hold</h1><p>It was used already, or it has lapsed. Ask an "
        'owner of this studio for a new one, or <a href="/login">log in</a>.</p>',
    )


def _alert(problem: str) -> str:
    return f'<p role="alert">{html.escape(problem)}</p>' if problem else ""
