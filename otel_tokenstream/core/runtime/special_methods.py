"""The classes of proxies: each has the special methods of its stream's class, which Python looks up on classes only."""

from __future__ import annotations

import weakref
from inspect import getattr_static
from types import FunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.runtime.finalizers import forget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_BINARY = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "xor", "or")
_KNOWN = {
    f"__{name}__"
    for name in (
        *(prefix + name for prefix in ("", "r", "i") for name in _BINARY),
        *("divmod", "rdivmod", "neg", "pos", "abs", "invert", "round", "trunc", "floor", "ceil"),
        *("bool", "int", "float", "complex", "index", "bytes", "fspath", "buffer", "release_buffer"),
        *("len", "length_hint", "getitem", "setitem", "delitem", "contains", "reversed"),
        *("call", "get", "set", "delete", "instancecheck", "subclasscheck", "copy", "deepcopy"),
    )
}
# Every object has these; they are handed through where a class has its own.
_OF_OBJECTS = {f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge", "hash", "str", "format", "sizeof")}
# Members of a class that are its objects' own.
_METHODS = (FunctionType, MethodDescriptorType, WrapperDescriptorType)
# A finalizer is the stream's own affair.
_NOT_HANDED_THROUGH = {"__del__", "__getattr__", "__set_name__"}

# Mocks, and some versions of litellm's router, make a class for each object that may hold it: none is held here.
_MOST_CLASSES = 256
_classes: dict[tuple[type, int], tuple[type, weakref.ref[type]]] = {}


def proxy_class(base: type, stream_class: type, special: Mapping[str, Callable[..., Any]]) -> Any:
    """Return the subclass of ``base`` for streams of a class; ``special`` methods are put where the stream has them."""
    key = (base, id(stream_class))
    known, made_for = _classes.get(key, (None, None))
    if known is None or made_for is None or made_for() is not stream_class:
        methods: dict[str, Any] = {name: method for name, method in special.items() if hasattr(stream_class, name)}
        for name in _further_names(base, stream_class, special):
            methods[name] = _handed_through(base, name)
        if getattr_static(stream_class, "__hash__", None) is None:
            methods["__hash__"] = None
        known = type(f"{stream_class.__name__}Proxy", (base,), {"__slots__": (), **methods})
        if len(_classes) < _MOST_CLASSES:
            _classes[key] = (known, weakref.ref(stream_class, forget(_classes, key)))
    return known


def _further_names(base: type, stream_class: type, special: Mapping[str, Any]) -> Iterator[str]:
    everywhere = {*dir(base), *special, *_NOT_HANDED_THROUGH}
    for name in dir(stream_class):
        if not (name.startswith("__") and name.endswith("__")):
            continue
        found = getattr_static(stream_class, name, None)
        if name in _OF_OBJECTS:
            own = found is not None and found is not getattr_static(object, name)
        elif name in _KNOWN:
            own = found is not None and name not in everywhere
        else:
            own = isinstance(found, _METHODS) and name not in everywhere
        if own:
            yield name


def _handed_through(base: type, name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        stream = self._ts_stream
        # A stream that is compared with itself is given itself.
        args = tuple(each._ts_stream if issubclass(type(each), base) else each for each in args)  # noqa: SLF001
        result = getattr(stream, name)(*args, **kwargs)
        return self if result is stream else result

    return method
