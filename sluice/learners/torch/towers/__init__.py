"""Two towers: a network that puts users and items into one space."""
