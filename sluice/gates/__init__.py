"""What may go on: the bar, the champion beside the candidate, the floor, the slices."""
