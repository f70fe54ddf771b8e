"""The instrumentors that users and ``opentelemetry-instrument`` call, one a library."""

from __future__ import annotations

import atexit
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # untyped

from otel_tokenstream.coexistence import warn_of_duplicates
from otel_tokenstream.core.emit import silence
from otel_tokenstream.core.emit.deferred import DeferredTelemetry
from otel_tokenstream.core.runtime.guard import fault
from otel_tokenstream.patches import first_import
from otel_tokenstream.settings import Configuration, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from typing_extensions import Unpack

    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.instrument_options import InstrumentOptions
    from otel_tokenstream.live.from_settings import Outlets
    from otel_tokenstream.patches.table import PatchTable

PROVIDERS = ("tracer_provider", "meter_provider", "logger_provider")
# Instrumentors whose requirement is met. Reading a distribution's metadata takes a millisecond, which
# a test suite that captures would pay in each test.
_met: set[type] = set()


class _Instrumentor(BaseInstrumentor):  # type: ignore[misc]  # untyped
    """Takes the three providers and every setting by name; see ``settings.Settings``.

    Until the library is imported there are only checked settings and a hook: every process that
    ``opentelemetry-instrument`` starts pays for what is imported here.
    """

    configuration = Configuration
    library: str
    _requirement: str
    table: PatchTable | None = None
    """The patches; None until the library is imported."""
    _telemetry: DeferredTelemetry | None = None
    _outlets: Outlets | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        return (self._requirement,)

    def _check_dependency_conflicts(self) -> Any:
        if type(self) in _met:
            return None
        conflict = super()._check_dependency_conflicts()
        if conflict is None:
            _met.add(type(self))
        return conflict

    def instrument(self, **kwargs: Unpack[InstrumentOptions]) -> None:
        """Instrument the library; a second call changes nothing.

        Raises:
            SettingError: an option or a variable is unknown or its value is not allowed.
            OutletError: an outlet that ``live`` names needs a library that is not installed. Neither
                under ``opentelemetry-instrument``, where it is logged and the default used.

        """
        # ``opentelemetry-instrument`` has checked the requirements already.
        zero_code = kwargs.get("skip_dep_check", False)
        super().instrument(**kwargs, lenient=zero_code)

    def _instrument(self, **kwargs: Any) -> None:
        lenient = kwargs.pop("lenient", False)
        providers = {name: kwargs.pop(name, None) for name in PROVIDERS}
        settings = Settings.load(kwargs, lenient=lenient)
        warn_of_duplicates(self.library, zero_code=lenient)
        self._telemetry = DeferredTelemetry(self.library, settings, providers)
        try:
            if self.library in sys.modules or any(provider is not None for provider in providers.values()):
                self._telemetry.get()  # a provider that cannot be used is an error here and now
        except Exception as error:
            self._telemetry = None
            if not lenient:
                raise
            fault("asking the providers for a tracer, a meter and a logger", error)
            return
        self._outlets = _outlets(settings, lenient=lenient) if settings.live else None
        if self.library in sys.modules:
            self._patch()
        else:
            first_import.before_import(self.library, self._patch)
            if not lenient:  # most processes of a program that is started with instrumentation import no library
                atexit.register(silence.no_library)

    def _patch(self) -> None:
        if self._telemetry is not None:
            self.table = self._patches()(self._telemetry.get())
            self.table.apply()

    def _uninstrument(self, **_: Any) -> None:
        first_import.withdraw(self.library)
        if self.table is not None:
            self.table.remove()
            self.table = None
        if self._telemetry is not None:
            self._telemetry.switch_off()
            self._telemetry = None
        if self._outlets is not None:
            self._outlets.close()
            self._outlets = None

    def _patches(self) -> Callable[[Telemetry], PatchTable]:
        raise NotImplementedError


def _outlets(settings: Settings, *, lenient: bool) -> Outlets | None:
    from otel_tokenstream.live import from_settings  # noqa: PLC0415  # only what is used is loaded

    try:
        return from_settings.Outlets(settings.live, text=settings.live_text)
    except from_settings.OutletError as error:
        if not lenient:
            raise
        from_settings.log_once(str(error))
    except Exception as error:
        if not lenient:
            raise
        fault("opening the live outlets", error)
    return None


class LiteLLMInstrumentor(_Instrumentor):
    """Spans, token events and metrics for the streams of litellm."""

    library = "litellm"
    _requirement = "litellm >= 1.60"

    def _patches(self) -> Callable[[Telemetry], PatchTable]:
        from otel_tokenstream.patches import litellm  # noqa: PLC0415  # only what is used is loaded

        return litellm.table


class DSPyInstrumentor(_Instrumentor):
    """Spans for DSPy's modules, and for the model calls of its own engine."""

    library = "dspy"
    _requirement = "dspy >= 2.6.27"

    def _patches(self) -> Callable[[Telemetry], PatchTable]:
        from otel_tokenstream.patches import dspy  # noqa: PLC0415  # only what is used is loaded

        return dspy.table


class LangChainInstrumentor(_Instrumentor):
    """Spans, token events and metrics for the model calls of LangChain and LangGraph."""

    library = "langchain_core"
    _requirement = "langchain-core >= 1.0"

    def _patches(self) -> Callable[[Telemetry], PatchTable]:
        from otel_tokenstream.patches import langchain  # noqa: PLC0415  # only what is used is loaded

        return langchain.table


class OpenAIInstrumentor(_Instrumentor):
    """Spans, token events and metrics for the calls of OpenAI's SDK."""

    library = "openai"
    _requirement = "openai >= 1.40"

    def _patches(self) -> Callable[[Telemetry], PatchTable]:
        from otel_tokenstream.patches import openai  # noqa: PLC0415  # only what is used is loaded

        return openai.table


class AnthropicInstrumentor(_Instrumentor):
    """Spans, token events and metrics for the calls of Anthropic's SDK."""

    library = "anthropic"
    _requirement = "anthropic >= 0.40"

    def _patches(self) -> Callable[[Telemetry], PatchTable]:
        from otel_tokenstream.patches import anthropic  # noqa: PLC0415  # only what is used is loaded

        return anthropic.table


class LionAGIInstrumentor(_Instrumentor):
    """Spans, token events and metrics for the calls of lionagi's models over HTTP."""

    library = "lionagi"
    _requirement = "lionagi >= 0.30"

    def _patches(self) -> Callable[[Telemetry], PatchTable]:
        from otel_tokenstream.patches import lionagi  # noqa: PLC0415  # only what is used is loaded

        return lionagi.table


class LionprideInstrumentor(_Instrumentor):
    """Spans, token events and metrics for the calls of lionpride's endpoints."""

    library = "lionpride"
    _requirement = "lionpride >= 1.0.0a12"

    def _patches(self) -> Callable[[Telemetry], PatchTable]:
        from otel_tokenstream.patches import lionpride  # noqa: PLC0415  # only what is used is loaded

        return lionpride.table
