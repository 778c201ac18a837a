"""The torch learner: one loop for every task, from one process to many, that goes on where it was killed.

`sluice.learners.torch.fit` holds what the rest of the project calls. Nothing is imported here: the
project file reads `sluice.learners.torch.config`, and `fit` reads the project file.
"""
