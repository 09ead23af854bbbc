"""TwoMoon (MPL v4, section 3.1): teacher and student, many seeds and settings at once.

    python -m benchmarks.two_moons --seeds 20 --json benchmarks/results/two_moons.json \
        --figure benchmarks/results/two_moons.png
"""
