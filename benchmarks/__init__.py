"""Speed benchmarks: our code beside the obvious alternative, in the same run."""
