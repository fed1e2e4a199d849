"""The report of a run: a curve and a page. They read the run folder and nothing else."""
