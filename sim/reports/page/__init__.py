"""One self-contained HTML page of what a folder of results holds: a run, a sweep, or judged decisions."""
