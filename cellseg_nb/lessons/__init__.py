"""Steps of one notebook each, longer than a cell and not what it teaches; `common`: what several share."""
