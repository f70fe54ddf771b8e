from __future__ import annotations

import sys
from importlib.metadata import entry_points

from tests import zero_code

MODULES = "import sys; print(*sorted(sys.modules))"
OURS = ",".join(
    each.name for each in entry_points(group="opentelemetry_instrumentor") if each.name.startswith("tokenstream_")
)


def test_start_imports_neither_instrumented_library_nor_exporter() -> None:
    """A program that never streams pays for our own small modules only: patches wait for the import."""
    without = f"{zero_code.OTHERS},{OURS}"
    plain = set(zero_code.run(MODULES, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=without).stdout.split())
    instrumented = set(zero_code.run(MODULES).stdout.split())

    added = {name.partition(".")[0] for name in instrumented - plain} - sys.stdlib_module_names
    assert "otel_tokenstream" in added
    assert added <= {"otel_tokenstream", "opentelemetry", "wrapt", "_wrapt"}
    assert not [
        name for name in instrumented - plain if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))
    ]


def test_start_loads_settings_and_hooks_only() -> None:
    """Whatever writes signals or patches a library waits until that library is imported."""
    loaded = {name for name in zero_code.run(MODULES).stdout.split() if name.startswith("otel_tokenstream")}
    assert loaded == {
        "otel_tokenstream",
        *(
            f"otel_tokenstream.{name}"
            for name in (
                "coexistence",
                "core",
                "core.emit",
                "core.emit.deferred",
                "core.emit.silence",
                "core.runtime",
                "core.runtime.forking",
                "core.runtime.guard",
                "core.runtime.sanitize",
                "environment",
                "instrumentors",
                "patches",
                "patches.first_import",
                "setting_kinds",
                "settings",
            )
        ),
    }
