"""What is watched after the rollout."""
