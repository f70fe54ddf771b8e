"""DSPy's language models and programs, by its own engine and over litellm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.entries.entry import ALL, ID, PLAIN, USAGE, Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider


def _lm(provider: ScriptedProvider, engine: str) -> Any:
    import dspy

    about = {"api_base": provider.base_url, "api_key": "none", "cache": False, "num_retries": 0}
    return dspy.LM("openai/test", engine=engine, **about)


def _called(engine: str) -> Callable[[ScriptedProvider], Any]:
    return lambda provider: _lm(provider, engine)("Why?")


def _acalled(engine: str) -> Callable[[ScriptedProvider], Any]:
    return lambda provider: _lm(provider, engine).acall("Why?")


def _program(engine: str, *, streamed: bool) -> Callable[[ScriptedProvider], Any]:
    async def ask(provider: ScriptedProvider) -> None:
        import dspy

        with dspy.context(lm=_lm(provider, engine), adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)):
            program = dspy.Predict("question -> answer")
            if streamed:
                async for _ in dspy.streamify(program)(question="Why?"):
                    pass
            else:
                await program.acall(question="Why?")

    return ask


def _entry(name: str, engine: str, way: Any, seen: frozenset[str]) -> Entry:
    over = "over litellm" if engine == "litellm" else "by its own engine"
    return Entry("DSPy", f"{name}, {over}", way, seen)


DSPY = tuple(
    _entry(name, engine, way, seen)
    for engine in ("lm15", "litellm")
    for name, way, seen in (
        ("LM(), .acall()", (_called(engine), _acalled(engine)), PLAIN),
        ("Predict(), .acall()", (_program(engine, streamed=False),), PLAIN),
        ("streamify()", (_program(engine, streamed=True),), ALL - {ID if engine == "lm15" else USAGE}),
    )
)
