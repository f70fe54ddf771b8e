"""Commands that show streams while they run: run, tail and top."""
