"""Per-frame instances to tracks: flow-linked tracklets, forest path cutting, the YouTube-VIS result format."""
