"""Does feedback help? A config's variants over many seeds, with paired differences and their intervals.

    python -m benchmarks.accuracy benchmarks/accuracy/digits40.yaml --seeds 10 --jobs 2 \
        --out runs/digits40 --json benchmarks/results/accuracy_digits40.json
    python -m benchmarks.accuracy --table benchmarks/results/accuracy_digits40.json

A grid is an ordinary config file, and its variants are the file's `profiles`. Each run is an ordinary run folder
`OUT/VARIANT-SEED`: the same command goes on where it was stopped, and finds finished runs again.
"""
