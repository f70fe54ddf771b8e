"""The instrumentors that users and ``opentelemetry-instrument`` call, one a library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # untyped

from otel_tokenstream.coexistence import warn_of_duplicates
from otel_tokenstream.core.guard import fault
from otel_tokenstream.core.telemetry import telemetry_for
from otel_tokenstream.settings import Configuration, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from otel_tokenstream.core.telemetry import Telemetry
    from otel_tokenstream.live.from_settings import Outlets
    from otel_tokenstream.patches.table import PatchTable

_PROVIDERS = ("tracer_provider", "meter_provider", "logger_provider")


class _Instrumentor(BaseInstrumentor):  # type: ignore[misc]  # untyped
    """Takes the three providers and every setting by name; see ``settings.Settings``."""

    configuration = Configuration
    _library: str
    _requirement: str
    _table: PatchTable | None = None
    _telemetry: Telemetry | None = None
    _outlets: Outlets | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        return (self._requirement,)

    def instrument(self, **kwargs: Any) -> Any:
        """Instrument the library; a second call changes nothing.

        Raises:
            SettingError: an option or a variable is unknown or its value is not allowed.
            OutletError: an outlet that ``live`` names needs a library that is not installed. Neither
                under ``opentelemetry-instrument``, where it is logged and the default used.

        """
        # What starts every instrumentation of a process has checked the requirements already.
        zero_code = kwargs.get("skip_dep_check", False)
        return super().instrument(**kwargs, lenient=zero_code)

    def _instrument(self, **kwargs: Any) -> None:
        lenient = kwargs.pop("lenient", False)
        providers = {name: kwargs.pop(name, None) for name in _PROVIDERS}
        settings = Settings.load(kwargs, lenient=lenient)
        warn_of_duplicates(self._library, zero_code=lenient)
        self._outlets = _outlets(settings, lenient=lenient) if settings.live else None
        self._telemetry = telemetry_for(settings, **providers, library=self._library)
        self._telemetry.switch(on=True)
        self._table = self._patches()(self._telemetry)
        self._table.apply()

    def _uninstrument(self, **_: Any) -> None:
        if self._table is not None:
            self._table.remove()
            self._table = None
        if self._telemetry is not None:
            self._telemetry.switch(on=False)
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

    _library = "litellm"
    _requirement = "litellm >= 1.60"

    def _patches(self) -> Callable[[Telemetry], PatchTable]:
        from otel_tokenstream.patches import litellm  # noqa: PLC0415  # only what is used is loaded

        return litellm.table


class DSPyInstrumentor(_Instrumentor):
    """Spans for DSPy's modules, and for the model calls of its own engine."""

    _library = "dspy"
    _requirement = "dspy >= 2.6.27"

    def _patches(self) -> Callable[[Telemetry], PatchTable]:
        from otel_tokenstream.patches import dspy  # noqa: PLC0415  # only what is used is loaded

        return dspy.table
