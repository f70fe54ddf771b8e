"""A latency gate: budgets and baselines from a file, judged over recorded streams, for builds and canaries."""
