"""Commands around the program: evaluation, benchmarks, training."""
