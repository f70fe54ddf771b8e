"""Isolation of our faults, forks, context variables, finalizers and proxy classes. Knows no model call."""
