"""Volumes that fit no memory: read lazily, cut into blocks, segmented one by one, joined without seams."""
