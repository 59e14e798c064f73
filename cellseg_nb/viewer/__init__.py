"""Looking at a volume, labelling it and correcting labels in the browser. All logic is in Python, tested
without a browser; `cellseg_nb.viewer.widget` draws."""
