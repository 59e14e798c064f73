"""Where volumes come from: bundled, downloaded, simulated; and how a data set is divided."""
