"""How a step runs, and what a run came to."""
