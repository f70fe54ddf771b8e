"""The version of this package; reading it takes a millisecond or two, so it is done once."""

from importlib.metadata import version

__version__ = version("otel-tokenstream")
