"""Where a run stands: what happened is appended to a file, which the live view and `wsvis status` read."""
