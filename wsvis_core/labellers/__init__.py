"""Stage-1 labellers: frames and class labels in, instances out."""
