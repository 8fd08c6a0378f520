"""What happens at every attach point when a host fails in every way: `python -m fault_matrix` prints it as tables."""
