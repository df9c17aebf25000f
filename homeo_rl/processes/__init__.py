"""Child processes: how they start and end, executors of jobs, the scheduler over them, signals."""
