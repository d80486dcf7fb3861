"""The two pages that are not Gradio's: locked, and log-in. Plain HTML, nothing from outside."""

import html

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.6 system-ui, sans-serif; display: grid; place-items: center;
  min-height: 100vh; margin: 0; background: Canvas; color: CanvasText; }
main { max-width: 26rem; padding: 2rem; }
h1 { font-size: 1.4rem; margin: 0 0 .5rem; }
p { margin: .5rem 0; } code { background: color-mix(in srgb, CanvasText 10%, Canvas);
  padding: .1em .35em; border-radius: 4px; }
label { display: block; margin: 1rem 0 .25rem; font-weight: 600; }
input { font: inherit; width: 100%; box-sizing: border-box; padding: .55rem .7rem;
  border: 1px solid color-mix(in srgb, CanvasText 35%, Canvas); border-radius: 8px; }
button { font: inherit; font-weight: 600; margin-top: 1.25rem; width: 100%; padding: .6rem;
  border: 0; border-radius: 8px; background: #4f46e5; color: white; cursor: pointer; }
:focus-visible { outline: 3px solid #818cf8; outline-offset: 2px; }
[role=alert] { color: #dc2626; }
"""


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    )


LOCKED_PAGE = _page(
    "Distill Studio is locked",
    "<h1>Distill Studio is locked</h1>"
    "<p>It can be reached from other machines and nothing keeps strangers out, so it shows only "
    "this page.</p><p>If it is yours: set a password in the variable "
    "<code>DISTILL_STUDIO_PASSWORD</code> and start it again, or let it listen on "
    "<code>127.0.0.1</code> only. On a Space the variable is a secret in the Space's settings.</p>",
)


def login_page(next_path: str, problem: str = "") -> str:
    """The log-in form; `next_path` is where a success leads."""
    alert = f'<p role="alert">{html.escape(problem)}</p>' if problem else ""
    return _page(
        "Log in to Distill Studio",
        "<h1>Distill Studio</h1><p>Your name goes with every decision you make.</p>"
        f'{alert}<form method="post" action="/login">'
        f'<input type="hidden" name="next" value="{html.escape(next_path, quote=True)}">'
        '<label for="user">Your name</label>'
        '<input id="user" name="user" autocomplete="username" required maxlength="100">'
        '<label for="password">Password</label>'
        '<input id="password" name="password" type="password" autocomplete="current-password"'
        " required><button>Log in</button></form>",
    )
