"""Own videos in: video files or folders of frames and a CSV of their classes become a data set of kind: folder."""
