"""What an answer is and how it is judged: metrics with intervals, curves, thresholds."""
