"""Why do I see nothing: checks of an environment, each with its finding and the command that mends it."""
