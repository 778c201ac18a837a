"""The learner of contextual bandits: a model of the reward for each action, from logged decisions."""
