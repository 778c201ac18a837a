"""Every error that is said to a person, read off the places that raise it: its message, and what mends it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from docs.generate.words import cell, table

ROOT = Path(__file__).resolve().parents[2]
#: Folders, and what a reader is doing when they meet their errors.
PARTS = {
    "The project and the home": ("project.py", "core", "commands", "arguments", "cli.py"),
    "Data": ("data", "fields"),
    "Training": ("tasks", "learners", "problems", "tuning", "steps"),
    "Gates": ("gates",),
    "Packages and signatures": ("package", "formats", "engines", "proof", "prediction", "adoption"),
    "Registry, environments and audit": ("registry", "promotion", "environments", "audit", "tracking"),
    "Rollouts and monitoring": ("rollouts", "monitor"),
    "The cluster": ("kfp", "kube", "client", "doctor"),
}


def page() -> str:
    out = [
        "# Error messages",
        "Read off the code: what a command says, and what mends it. A name in braces stands for the value that was met. Search this page for a few "
        "words of what you saw; [troubleshooting](../troubleshooting.md) has the commonest with more to each.",
    ]
    for title, places in PARTS.items():
        found = dict.fromkeys(
            pair
            for place in places
            for path in sorted((ROOT / "sluice" / place).rglob("*.py") if (ROOT / "sluice" / place).is_dir() else [ROOT / "sluice" / place])
            for pair in _errors(ast.parse(path.read_text()))
        )
        out += [f"## {title}", table(["message", "what mends it"], [[cell(m), cell(f)] for m, f in sorted(found)])]
    return "\n\n".join(out) + "\n"


def _errors(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Message and fix of each ``SomeError("...", ..., fix="...")``; without both it is none for a person."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Error") and node.args:
            message = _said(node.args[0])
            fix = next((_said(k.value) for k in node.keywords if k.arg == "fix"), "")
            if message.strip("{} .") and fix:
                yield message, fix


def _said(node: ast.AST) -> str:
    """A text as it stands in the code, with names in braces for what is put in; of a choice, its first."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_said(v) if isinstance(v, ast.Constant) else _value(v) for v in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _said(node.left) + _said(node.right)
    if isinstance(node, ast.IfExp):
        return _said(node.body)
    return ""


def _value(node: ast.AST) -> str:
    inner = node.value if isinstance(node, ast.FormattedValue) else node
    if isinstance(inner, ast.IfExp | ast.JoinedStr):
        return _said(inner)
    names = [n.id if isinstance(n, ast.Name) else n.attr for n in ast.walk(inner) if isinstance(n, ast.Name | ast.Attribute)]
    return "{" + (names[0] if names else "value") + "}"
