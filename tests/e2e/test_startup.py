from __future__ import annotations

import sys

import zero_code

MODULES = "import sys; print(*sorted(sys.modules))"
OURS = "tokenstream_litellm,tokenstream_dspy"


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


def test_start_loads_no_more_than_the_patches() -> None:
    """Viewer, demo and whatever reads recorded streams stay out of the application's process."""
    loaded = {
        name.split(".")[1] for name in zero_code.run(MODULES).stdout.split() if name.startswith("otel_tokenstream.")
    }
    assert not loaded & {"analysis", "cli", "demo", "live", "viewer"}
    assert {"instrumentors", "patches", "core", "settings", "signals"} <= loaded
