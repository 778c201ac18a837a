"""The learner of policies: reinforcement learning in an environment, by Stable-Baselines3."""
