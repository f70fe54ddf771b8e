"""One model call: its state, its timeline, the proxy around its stream, and the calls that are in flight."""
