"""Data sets: what the pipeline reads, and the generated one it can make itself."""
