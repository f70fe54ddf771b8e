"""How often the gate's intervals hold the true value, by simulation, and how often its verdicts are wrong at the limit.

Three distributions of first tokens: log-normal, bimodal (a third behind a slow route), heavy tail (Pareto). Nothing is
random but for the seed.
"""

from __future__ import annotations

import argparse
import math
import random
from statistics import NormalDist

from otel_tokenstream.gate import evidence

LEVEL, DRAWS_OF_TRUTH = 0.95, 1_000_000
QUANTILES = (0.5, 0.95)


def lognormal(chance):
    return 400 * chance.lognormvariate(0, 0.4)


def bimodal(chance):
    return (1_500 if chance.random() < 1 / 3 else 300) * chance.lognormvariate(0, 0.2)


def heavy(chance):
    return 200 * chance.paretovariate(2)


DISTRIBUTIONS = {"log-normal": lognormal, "bimodal": bimodal, "heavy tail": heavy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=1_000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 400])
    options = parser.parse_args()
    noise = 1.96 * math.sqrt(LEVEL * (1 - LEVEL) / options.times)
    print(f"{options.times} samples each: a share of {LEVEL:.1%} has an error of {noise:.1%} here")
    print(
        "| distribution | quantile | streams | ratio | value | wrong fail | wrong pass |\n|---|---|---|---|---|---|---|"
    )
    for name, draw in DISTRIBUTIONS.items():
        for share in QUANTILES:
            true = truth(name, share)
            for size in options.sizes:
                row = simulated(draw, true, share, size, options.times)
                print(
                    f"| {name} | p{share * 100:.0f} | {size} | {' | '.join(f'{each:.1%}' for each in row)} |",
                    flush=True,
                )
    shares(options.times)


def truth(name, share):
    """The quantile itself: by formula, of the bimodal distribution by bisection."""
    if name == "log-normal":
        return 400 * math.exp(0.4 * NormalDist().inv_cdf(share))
    if name == "heavy tail":
        return 200 * (1 - share) ** -0.5
    low, high = 1.0, 10_000.0
    for _ in range(60):
        middle = (low + high) / 2
        below = sum(
            part * NormalDist(math.log(median), 0.2).cdf(math.log(middle))
            for part, median in ((2 / 3, 300), (1 / 3, 1_500))
        )
        low, high = (middle, high) if below < share else (low, middle)
    return (low + high) / 2


def simulated(draw, true, share, size, times):
    """Return the shares of intervals that hold the truth, for a ratio and a value, and of wrong verdicts.

    The candidate of a wrong fail is as slow as the limit allows, that of a wrong pass a hair slower than that.
    """
    chance = random.Random(f"{draw.__name__} {share} {size}")
    ratio = value = fail = passed = 0
    for _ in range(times):
        before, now = (sorted(draw(chance) for _ in range(size)) for _ in range(2))
        of_ratio = evidence.of_quantile_ratio(before, now, share, 0.0, LEVEL, chance)
        of_value = evidence.of_quantile(now, share, true, LEVEL)
        ratio += of_ratio.interval.low <= 0 <= of_ratio.interval.high
        value += of_value.interval is not None and of_value.interval.low <= true <= of_value.interval.high
        fail += of_ratio.against < 1 - LEVEL
        passed += of_ratio.for_it < 1 - LEVEL
    return ratio / times, value / times, fail / times, passed / times


def shares(times):
    """Wilson's and Newcombe's intervals, for rare and for common events."""
    print("| share | streams | share's interval | difference's interval |\n|---|---|---|---|")
    for true in (0.01, 0.1, 0.5):
        for size in (100, 1_000):
            chance = random.Random(f"{true} {size}")
            one = both = 0
            for _ in range(times):
                hits = [sum(chance.random() < true for _ in range(size)) for _ in range(2)]
                of_share = evidence.of_share(hits[0], size, true, LEVEL)
                of_both = evidence.of_share_difference((hits[0], size), (hits[1], size), 0.0, LEVEL)
                one += of_share.interval.low <= true <= of_share.interval.high
                both += of_both.interval.low <= 0 <= of_both.interval.high
            print(f"| {true:.0%} | {size} | {one / times:.1%} | {both / times:.1%} |", flush=True)


if __name__ == "__main__":
    main()
