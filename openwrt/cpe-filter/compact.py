"""Compiles the Python sources below a folder, each to a .pyc next to it: as small as bytecode gets.

    python3.11 compact.py FOLDER

Run by the recipe with the interpreter of the router's Python minor, in place of the feed's compileall. Knows Python's
syntax and .pyc files (PEP 552); must not know the filter, and needs nothing but the standard library, of 3.10 or later.

Left out is what the router has no use for: docstrings, annotations and the imports that only these need, what only type
checkers read, and the tables that tell a traceback its lines and columns, since the filter never shows one. They are
half of a .pyc, and would be memory for as long as the filter runs. Local variables are called a, b, c. The names of
modules, functions, classes, attributes and parameters stay: errors say them, and code looks for them. A method's name
does not repeat its class. The same sources give the same bytes, wherever they are.
"""

from __future__ import annotations
import __future__

import ast
import importlib.util
import marshal
import os
import sys
from types import CodeType

#: PEP 552: by hash, never to be checked against a source, which is not on the router; so the hash may be zero.
_HEADER = importlib.util.MAGIC_NUMBER + (0b01).to_bytes(4, "little") + bytes(8)
#: The base of classes that are made from their annotations: that there is one counts, what it says does not.
_MADE_OF_ANNOTATIONS = "NamedTuple"
#: Modules whose import does nothing but bring names, which most files want for annotations alone.
_FOR_ANNOTATIONS = ("__future__", "collections.abc", "types")
#: CO_NEWLOCALS: a function, whose instructions find local variables by number; a module's and a class's have names.
_HAS_LOCALS = 0x02
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class _Strip(ast.NodeTransformer):
    """Takes out of a module what changes nothing when it runs."""

    def visit_Module(self, node: ast.Module) -> ast.AST:
        _drop_docstring(node)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        _drop_docstring(node)
        if any(isinstance(base, ast.Name) and base.id == _MADE_OF_ANNOTATIONS for base in node.bases):
            for child in node.body:
                if isinstance(child, ast.AnnAssign):
                    child.annotation = ast.copy_location(ast.Constant(0), child.annotation)
                else:
                    self.visit(child)
            return node
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        _drop_docstring(node)
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return self.generic_visit(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse or ast.copy_location(ast.Pass(), node)
        return node


def _without_unused_imports(tree: ast.Module) -> None:
    """Takes out names of `_FOR_ANNOTATIONS` that nothing uses, now that annotations are gone."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in list(tree.body):
        if isinstance(node, ast.ImportFrom) and node.module in _FOR_ANNOTATIONS:
            node.names = [alias for alias in node.names if (alias.asname or alias.name) in used]
            if not node.names:
                tree.body.remove(node)


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        node.body[:1] = [] if node.body[1:] else [ast.copy_location(ast.Pass(), first)]


def _smaller(code: CodeType) -> CodeType:
    """Without lines, with short local names, and with the short name of a method in place of Class.method."""
    constants = tuple(_smaller(each) if isinstance(each, CodeType) else each for each in code.co_consts)
    code = code.replace(co_linetable=b"", co_firstlineno=1, co_consts=constants)
    if code.co_flags & _HAS_LOCALS:
        code = code.replace(co_varnames=_short_locals(code))
    if sys.version_info >= (3, 11):
        code = code.replace(co_qualname=code.co_name)
    return code


def _short_locals(code: CodeType) -> tuple[str, ...]:
    """The names of local variables; parameters keep theirs, as do variables that inner functions share."""
    parameters = code.co_argcount + code.co_kwonlyargcount
    shared = {*code.co_cellvars, *code.co_freevars}
    kept = {*code.co_varnames[:parameters], *shared}
    letters = (letter * length for length in range(1, 9) for letter in _LETTERS if letter * length not in kept)
    return tuple(
        name if number < parameters or name in shared else sys.intern(next(letters))
        for number, name in enumerate(code.co_varnames)
    )


def compact(source: bytes, name: str) -> bytes:
    """The .pyc of a module; `name` is the file that it says it comes of. Raises SyntaxError."""
    tree = _Strip().visit(ast.parse(source, name))
    _without_unused_imports(tree)
    flags = __future__.annotations.compiler_flag  # what names the fields of named tuples is not evaluated
    code = compile(tree, name, "exec", flags, dont_inherit=True, optimize=2)
    return _HEADER + marshal.dumps(_smaller(code))


def main(folder: str) -> None:
    for path, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            if file.endswith(".py"):
                source = os.path.join(path, file)
                name = "/" + os.path.relpath(source, folder)
                with open(source, "rb") as opened:
                    code = compact(opened.read(), name)
                with open(source + "c", "wb") as opened:
                    opened.write(code)


if __name__ == "__main__":
    main(sys.argv[1])
