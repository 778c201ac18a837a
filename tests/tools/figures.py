"""The size and order of the code: ``make figures``.

Lines of a file and of a function are counted as they stand, comments and blank lines among them; generated files are left out. A circle of
imports is one among modules that import each other when they are imported, so imports for types alone and those inside functions do not count.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE, TESTS = ("sluice", "components", "pipelines", "serving"), ("tests",)
#: Written by a program.
MADE = ("open_inference_pb2.py",)
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def sources(root: Path, folders: Sequence[str]) -> dict[Path, str]:
    """The text of every Python file below some folders, by path relative to `root`."""
    found = sorted(p for folder in folders for p in (root / folder).rglob("*.py") if p.name not in MADE)
    return {p.relative_to(root): p.read_text(encoding="utf-8") for p in found}


def lines(text: str) -> int:
    return text.count("\n")


def functions(tree: ast.AST) -> Iterator[tuple[str, int, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """(name, lines, node) of each function, methods and inner ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1, node


def undocumented(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """(name, line) of each public class, function and method without a docstring; a method that overrides says no more than what it overrides."""
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            yield node.name, node.lineno
        if isinstance(node, ast.ClassDef) and not node.bases:
            for method in node.body:
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and not method.name.startswith("_") and not _told(method):
                    yield f"{node.name}.{method.name}", method.lineno


def _told(method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    overloads = any(isinstance(d, ast.Name) and d.id == "overload" for d in method.decorator_list)
    setter = any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in method.decorator_list)
    return overloads or setter or ast.get_docstring(method) is not None


def public(tree: ast.Module) -> int:
    """How many names `undocumented` looks at."""
    n = 0
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            n += 1
            if isinstance(node, ast.ClassDef) and not node.bases:
                n += sum(isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef) and not m.name.startswith("_") for m in node.body)
    return n


def imports(tree: ast.Module, module: str, known: Mapping[str, object]) -> set[str]:
    """The modules among `known` that a module imports when it is imported."""
    found: set[str] = set()
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in known else node.module for a in node.names}
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            waiting += [*node.body, *node.orelse]
        elif isinstance(node, ast.Try):
            waiting += [*node.body, *node.orelse, *(s for h in node.handlers for s in h.body)]
        elif isinstance(node, ast.ClassDef | ast.With):
            waiting += node.body
    return {m for m in found if m in known and m != module}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other (Tarjan 1972: strongly connected components of more than one)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(at: str) -> None:
        index[at] = low[at] = len(index)
        stack.append(at)
        for to in sorted(graph[at]):
            if to not in index:
                visit(to)
                low[at] = min(low[at], low[to])
            elif to in stack:
                low[at] = min(low[at], index[to])
        if low[at] == index[at]:
            group = stack[stack.index(at) :]
            del stack[stack.index(at) :]
            if len(group) > 1:
                found.append(sorted(group))

    sys.setrecursionlimit(max(sys.getrecursionlimit(), 10_000))
    for module in sorted(graph):
        if module not in index:
            visit(module)
    return sorted(found)


def module_name(path: Path) -> str:
    """What a file is imported as."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def share(values: Sequence[int], q: float) -> int:
    """The value that a share `q` of the sorted values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def main() -> None:
    code, tests = sources(ROOT, CODE), sources(ROOT, TESTS)
    trees = {path: ast.parse(text) for path, text in code.items()}
    sizes = {path: lines(text) for path, text in code.items() if text.strip()}
    lengths = {f"{path}:{node.lineno} {name}": n for path, tree in trees.items() for name, n, node in functions(tree)}
    bare = [f"{path}:{line} {name}" for path, tree in trees.items() for name, line in undocumented(tree)]
    names = sum(map(public, trees.values()))
    modules = {module_name(path): path for path in trees}
    graph = {m: imports(trees[path], m, modules) for m, path in modules.items()}
    written, tested = sum(sizes.values()), sum(map(lines, tests.values()))
    long_files = [f"{p} {n}" for p, n in sizes.items() if n > LONGEST_FILE] + [
        f"{p} {lines(t)}" for p, t in tests.items() if lines(t) > LONGEST_FILE
    ]
    long_functions = [f"{at} {n}" for at, n in lengths.items() if n > LONGEST_FUNCTION]
    print(
        f"files      {len(sizes)}: median {statistics.median(sizes.values()):.0f} lines, p90 {share(list(sizes.values()), 0.9)}, longest {max(sizes.values())}"
    )
    print(f"functions  {len(lengths)}: p90 {share(list(lengths.values()), 0.9)} lines, longest {max(lengths.values())}")
    print(f"docstrings {100 * (1 - len(bare) / max(names, 1)):.1f} % of {names} public names")
    print(f"tests      {tested / written:.2f} lines a line of code ({tested:,} on {written:,})")
    print(f"circles    {len(circles(graph))}")
    for title, found in (
        (f"files over {LONGEST_FILE} lines", long_files),
        (f"functions over {LONGEST_FUNCTION} lines", long_functions),
        ("without a docstring", bare),
        ("circles of imports", [" -> ".join(c) for c in circles(graph)]),
    ):
        if found and "--all" in sys.argv[1:]:
            print(f"\n{title} ({len(found)}):", *found, sep="\n  ")


if __name__ == "__main__":
    main()
