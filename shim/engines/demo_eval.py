"""A small, safe evaluator of Python functions: what would this call give, with this source?

The demo model checks a suspected fix in its head before it touches a file. Only plain functions
over numbers, strings, booleans and short lists are understood; all else raises `Unknown`. Nothing
of the evaluated text is ever executed, and steps, sizes and depth are bounded.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

MAX_SOURCE = 100_000
_MAX_INT = 10**15
_MAX_LENGTH = 10_000
_MAX_DEPTH = 20


class Unknown(Exception):
    """This evaluator cannot tell: the source uses something it does not model."""


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_BUILTINS: dict[str, Callable[..., Any]] = {
    "len": len,
    "min": min,
    "max": max,
    "sum": sum,
    "abs": abs,
    "round": round,
    "int": int,
    "float": float,
    "bool": bool,
    "sorted": sorted,
    "any": any,
    "all": all,
    "range": lambda *a: _short(range(*a)),
}


def parse(source: str) -> ast.Module | None:
    """The syntax tree of ``source``, or None where it is no Python (or far too long)."""
    if len(source) > MAX_SOURCE:
        return None
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def functions_of(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    """The functions at the top level of a module, by name."""
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


class Machine:
    """Evaluates calls into the functions and constants of some modules.

    ``budget`` is the number of steps left, over all calls; used up, everything is `Unknown`.
    """

    def __init__(self, modules: Iterable[ast.Module], budget: int = 20_000) -> None:
        self.functions: dict[str, ast.FunctionDef] = {}
        self.constants: dict[str, ast.expr] = {}
        self.budget = budget
        for module in modules:
            self.functions |= functions_of(module)
            for node in module.body:
                if isinstance(node, ast.Assign):
                    for target in node.targets:
                        if isinstance(target, ast.Name):
                            self.constants[target.id] = node.value

    def value(self, node: ast.expr) -> Any:
        """The value of an expression at module level. Raises Unknown, or what the code raises."""
        try:
            return self._eval(node, {}, 0)
        except RecursionError:
            raise Unknown("too deep") from None

    def _step(self, depth: int) -> None:
        self.budget -= 1
        if self.budget < 0 or depth > _MAX_DEPTH:
            raise Unknown("out of steps")

    def _call(self, node: ast.Call, env: Mapping[str, Any], depth: int) -> Any:
        match node.func:
            case ast.Name(id=name):
                pass
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner not in env:
                pass
            case _:
                raise Unknown("call")
        if any(isinstance(a, ast.Starred) for a in node.args):
            raise Unknown("starred argument")
        args = [self._eval(a, env, depth) for a in node.args]
        named = {k.arg: self._eval(k.value, env, depth) for k in node.keywords if k.arg}
        if len(named) != len(node.keywords):
            raise Unknown("** argument")
        if function := self.functions.get(name):
            return self._apply(function, args, named, depth + 1)
        if isinstance(node.func, ast.Name) and name in _BUILTINS and not named:
            return _bounded(_BUILTINS[name](*args))
        raise Unknown(f"call of {name}")

    def _apply(
        self, function: ast.FunctionDef, args: list[Any], named: dict[str, Any], depth: int
    ) -> Any:
        spec = function.args
        if spec.vararg or spec.kwarg or spec.kwonlyargs or spec.posonlyargs:
            raise Unknown("parameters")
        if function.decorator_list:
            raise Unknown("decorator")
        names = [a.arg for a in spec.args]
        defaults = zip(reversed(names), reversed(spec.defaults), strict=False)
        env = {name: self._eval(node, {}, depth) for name, node in defaults}
        env |= dict(zip(names, args, strict=False)) | named
        if len(args) > len(names) or set(env) != set(names):
            raise TypeError("arguments do not match")
        return self._block(function.body, env, depth)[1]

    def _block(self, body: list[ast.stmt], env: dict[str, Any], depth: int) -> tuple[bool, Any]:
        """Run statements; (True, value) once a ``return`` was met."""
        for node in body:
            self._step(depth)
            match node:
                case ast.Return(value=value):
                    return True, None if value is None else self._eval(value, env, depth)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    env[name] = self._eval(value, env, depth)
                case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                    env[name] = _binary(op, env[name], self._eval(value, env, depth))
                case ast.If(test=test, body=then, orelse=other):
                    branch = then if self._eval(test, env, depth) else other
                    done, result = self._block(branch, env, depth)
                    if done:
                        return True, result
                case ast.For(target=target, iter=iterable, body=inner, orelse=[]):
                    for item in _short(self._eval(iterable, env, depth)):
                        _bind(target, item, env)
                        done, result = self._block(inner, env, depth)
                        if done:
                            return True, result
                case ast.Pass() | ast.Expr(value=ast.Constant()):
                    pass
                case _:
                    raise Unknown(type(node).__name__)
        return False, None

    def _eval(self, node: ast.expr, env: Mapping[str, Any], depth: int) -> Any:
        self._step(depth)
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                if name in env:
                    return env[name]
                if name in self.constants:
                    return self._eval(self.constants[name], {}, depth + 1)
                raise Unknown(f"name {name}")
            case ast.BinOp(left=left, op=op, right=right):
                return _binary(op, self._eval(left, env, depth), self._eval(right, env, depth))
            case ast.UnaryOp(op=unary, operand=operand) if type(unary) in _UNARY:
                return _UNARY[type(unary)](self._eval(operand, env, depth))
            case ast.BoolOp(op=logic, values=values):
                result: Any = None
                for value in values:
                    result = self._eval(value, env, depth)
                    if bool(result) is isinstance(logic, ast.Or):
                        break
                return result
            case ast.Compare(left=left, ops=ops, comparators=others):
                current = self._eval(left, env, depth)
                for compare, other in zip(ops, others, strict=True):
                    right_value = self._eval(other, env, depth)
                    if not _COMPARE[type(compare)](current, right_value):
                        return False
                    current = right_value
                return True
            case ast.IfExp(test=test, body=then, orelse=otherwise):
                return self._eval(then if self._eval(test, env, depth) else otherwise, env, depth)
            case ast.List(elts=elts):
                return [self._eval(e, env, depth) for e in elts]
            case ast.Tuple(elts=elts):
                return tuple(self._eval(e, env, depth) for e in elts)
            case ast.Subscript(value=value, slice=index) if not isinstance(index, ast.Slice):
                return self._eval(value, env, depth)[self._eval(index, env, depth)]
            case ast.Call():
                return self._call(node, env, depth)
            case _:
                raise Unknown(type(node).__name__)


def _binary(op: ast.operator, left: Any, right: Any) -> Any:
    function = _BINARY.get(type(op))
    if function is None or (isinstance(op, ast.Mod) and isinstance(left, str | bytes)):
        raise Unknown("operator")
    if isinstance(op, ast.Pow) and (abs(left) > _MAX_LENGTH or abs(right) > 8):
        raise Unknown("power")
    if isinstance(op, ast.Mult):
        for sized, times in ((left, right), (right, left)):
            sequence = isinstance(sized, str | bytes | list | tuple)
            if sequence and isinstance(times, int) and len(sized) * times > _MAX_LENGTH:
                raise Unknown("too long")
    return _bounded(function(left, right))


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and abs(value) > _MAX_INT:
        raise Unknown("too large")
    if isinstance(value, str | bytes | list | tuple) and len(value) > _MAX_LENGTH:
        raise Unknown("too long")
    return value


def _short(items: Any) -> Any:
    if not isinstance(items, str | list | tuple | range) or len(items) > _MAX_LENGTH:
        raise Unknown("iterable")
    return items


def _bind(target: ast.expr, value: Any, env: dict[str, Any]) -> None:
    match target:
        case ast.Name(id=name):
            env[name] = value
        case ast.Tuple(elts=elts):
            values = tuple(value)
            if len(values) != len(elts):
                raise ValueError("unpacking")
            for part, item in zip(elts, values, strict=True):
                _bind(part, item, env)
        case _:
            raise Unknown("target")
