"""What makes a result depend on more than its input: clocks, floats, the order of a set.

Works on one syntax tree and on names, not on types, so it can be deceived on purpose; it catches
what happens by accident. The determinism test replays a log under two hash seeds for the rest.
"""

import ast
from typing import Final

CLOCKS: Final = frozenset(
    {
        "fromtimestamp",
        "monotonic",
        "monotonic_ns",
        "now",
        "perf_counter",
        "time_ns",
        "today",
        "utcnow",
    }
)
"""Attributes whose call reads a clock or the machine's time zone."""

ORDERING: Final = frozenset(
    {"sorted", "min", "max", "sum", "len", "any", "all", "set", "frozenset"}
)
"""Calls whose result does not depend on the order of what they are given."""

SETS: Final = frozenset({"set", "frozenset", "Set", "AbstractSet", "MutableSet"})


def impurities(module: ast.Module) -> list[str]:
    """Return what is impure in a module, each with its line."""
    return [*_clocks(module), *_floats(module), *_set_orders(module)]


def _clocks(module: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(module):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Attribute) and (
            called.attr in CLOCKS or ast.unparse(called) == "time.time"
        ):
            found.append(f"line {node.lineno}: {ast.unparse(called)}() reads a clock")
    return found


def _floats(module: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            found.append(f"line {node.lineno}: {node.value!r} is a float")
        elif isinstance(node, ast.Name) and node.id == "float":
            found.append(f"line {node.lineno}: float is named")
    return found


def _set_orders(module: ast.Module) -> list[str]:
    names = _names_of_sets(module)
    harmless = {
        id(argument)
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ORDERING
        for argument in node.args
    }
    return [
        f"line {walked.lineno}: the order of {ast.unparse(walked)} is not defined"
        for node in ast.walk(module)
        for walked in _walked(node, harmless)
        if _is_set(walked, names)
    ]


def _walked(node: ast.AST, harmless: set[int]) -> list[ast.expr]:
    """Return the expressions that `node` goes through in their own order."""
    match node:
        case ast.For() | ast.AsyncFor():
            return [node.iter]
        case ast.ListComp() | ast.DictComp():
            return [] if id(node) in harmless else [part.iter for part in node.generators]
        case ast.GeneratorExp():
            return [] if id(node) in harmless else [part.iter for part in node.generators]
        case ast.Call(func=ast.Name(id="list" | "tuple" | "iter" | "enumerate" | "dict" | "next")):
            return node.args
        case ast.Call(func=ast.Attribute(attr="join" | "extend" | "fromkeys")):
            return node.args
        case ast.Starred():
            return [node.value]
    return []


def _names_of_sets(module: ast.Module) -> set[str]:
    """Return the names that are a set wherever they are bound: annotated so, or assigned one."""
    names: set[str] = set()
    for node in ast.walk(module):
        match node:
            case ast.AnnAssign(target=target) if _is_set_type(node.annotation):
                names.add(_last(target))
            case ast.arg(annotation=ast.expr() as annotation) if _is_set_type(annotation):
                names.add(node.arg)
            case ast.Assign(targets=targets) if _is_set(node.value, set()):
                names.update(_last(target) for target in targets)
    return names - {""}


def _is_set(node: ast.expr, names: set[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.BinOp(op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor()):
            return _is_set(node.left, names) or _is_set(node.right, names)
        case ast.Name() | ast.Attribute():
            return _last(node) in names
    return False


def _is_set_type(annotation: ast.expr) -> bool:
    """Whether an annotation is a set itself, not something that contains one."""
    if isinstance(annotation, ast.Subscript):
        if _last(annotation.value) == "Final":
            return _is_set_type(annotation.slice)
        return _last(annotation.value) in SETS
    return _last(annotation) in SETS


def _last(node: ast.expr) -> str:
    """Return the last part of a dotted name, '' for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""
