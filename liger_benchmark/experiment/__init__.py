"""What is run: the inputs file, its axes and grid, an estimate, and checks before the start."""
