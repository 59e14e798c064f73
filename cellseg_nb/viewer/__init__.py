"""Looking at a volume, labelling it and correcting labels, in the browser: all logic in Python, tested without
one; `cellseg_nb.viewer.widget` draws."""
