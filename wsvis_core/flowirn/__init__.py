"""The inter-pixel relation network with optical flow: paths, network, losses, random walk, instance grouping."""
