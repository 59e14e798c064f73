"""What a class and a paper need beyond one notebook: copies, a check, a server, the experiments in order."""
