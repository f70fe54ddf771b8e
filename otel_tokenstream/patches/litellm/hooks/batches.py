"""``batch_completion`` and its like, which make each of their calls on a thread of a pool.

Pool threads have no context. The functions look ``completion`` up anew for each call, on the
caller's thread: there it is bound to the caller's context.
"""

from __future__ import annotations

from contextvars import copy_context
from functools import wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable

_MODULE = "litellm.batch_completion.main"


def patches() -> list[Patch]:
    return [Patch(_MODULE, "litellm", _Litellm, "litellm", optional=True)]


class _Litellm:
    """Stands for the module ``litellm`` where the batch functions look it up."""

    __slots__ = ("_module",)

    def __init__(self, module: Any) -> None:
        object.__setattr__(self, "_module", module)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        return _in_this_context(found) if name == "completion" else found

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._module, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._module, name)

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]  # unittest.mock reads what it puts back from here
        found: dict[str, Any] = vars(self._module)
        return found


def _in_this_context(function: Callable[..., Any]) -> Callable[..., Any]:
    context = copy_context()

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        # A copy, because a context cannot be entered twice at a time.
        return context.copy().run(function, *args, **kwargs)

    return call
