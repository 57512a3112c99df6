"""Stage-1 labellers: frame and class labels in, instances out (architecture.md, interfaces between rooms)."""
