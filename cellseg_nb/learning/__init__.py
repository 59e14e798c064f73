"""Training: the loop, the cubes it sees, their augmentation, and what watches it."""
