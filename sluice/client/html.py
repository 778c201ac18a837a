"""A piece of HTML in a notebook."""

from __future__ import annotations

from html import escape

from sluice.report import page, style


class Html:
    """A piece of a report a notebook draws, with its style kept to itself."""

    def __init__(self, body: str):
        self.body = body

    def _repr_html_(self) -> str:
        policy = f'<meta http-equiv="Content-Security-Policy" content="{page.POLICY}">'
        source = escape(f"{policy}<style>{style.CSS}</style><main>{self.body}</main>", quote=True)
        # No scripts run in it; of the same origin, or the notebook could not read how high it is.
        grow = "this.style.height=this.contentWindow.document.documentElement.scrollHeight+'px'"
        return f'<iframe sandbox="allow-same-origin" srcdoc="{source}" style="width:100%;border:0" onload="{grow}"></iframe>'
