"""A plugin of mypy for the tests: where these call the program, a plain number is a time of any clock.

Knows mypy's hooks and where the clocks' types are. Tests count time in numbers that they make up, so the types of
`cpe_filter.lean.clocks` would only add words there. Everything else of a call is still checked, and all of it in the
program itself.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.plugin import AttributeContext, FunctionSigContext, MethodSigContext, Plugin
from mypy.types import CallableType, FunctionLike, Instance, TupleType, Type, UnionType, get_proper_type

_CLOCKS = "cpe_filter.lean.clocks."
_DEEPEST = 3


def _as_number(given: Type, depth: int = 0) -> Type:
    """A clock's type becomes the number that it is based on, also within a union, a tuple or a callable's signature.

    depth: how far within; types may be recursive.
    """
    proper = get_proper_type(given)
    if isinstance(proper, Instance) and proper.type.fullname.startswith(_CLOCKS):
        return proper.type.bases[0]
    if depth < _DEEPEST and isinstance(proper, UnionType):
        return UnionType.make_union([_as_number(each, depth + 1) for each in proper.items])
    if depth < _DEEPEST and isinstance(proper, TupleType) and proper.partial_fallback.type.fullname == "builtins.tuple":
        return proper.copy_modified(items=[_as_number(each, depth + 1) for each in proper.items])
    if depth < _DEEPEST and isinstance(proper, CallableType):
        return _numbers(proper, depth + 1)
    return given


def _numbers(signature: CallableType, depth: int = 0) -> CallableType:
    arguments = [_as_number(each, depth) for each in signature.arg_types]
    return signature.copy_modified(arg_types=arguments, ret_type=_as_number(signature.ret_type, depth))


def _is_test(context: FunctionSigContext | MethodSigContext | AttributeContext) -> bool:
    tree = getattr(context.api, "tree", None)
    return tree is not None and tree.fullname.partition(".")[0] == "tests"


def _signature(context: FunctionSigContext | MethodSigContext) -> FunctionLike:
    """The signature as a module may call it."""
    signature = context.default_signature
    if not _is_test(context):
        return signature
    return _numbers(signature)


def _attribute(context: AttributeContext) -> Type:
    """An attribute's type as a module may read or set it."""
    return _as_number(context.default_attr_type) if _is_test(context) else context.default_attr_type


class _Plugin(Plugin):
    def get_function_signature_hook(self, fullname: str) -> Callable[[FunctionSigContext], FunctionLike] | None:
        return None if fullname.startswith("tests.") else _signature

    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        return _signature

    def get_attribute_hook(self, fullname: str) -> Callable[[AttributeContext], Type] | None:
        return _attribute


def plugin(version: str) -> type[Plugin]:
    return _Plugin
