"""What the command line draws: progress bars on standard error, results on standard output."""
