"""`sluice doctor`: what a run needs, here and on a cluster, looked at all at once, each look within its time."""
