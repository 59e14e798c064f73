"""From a volume to its cells: probability, instances, the table of cells."""
