"""The torch learner: one loop for every task, from one process to many, that goes on where it was killed.

`sluice.learners.torch.learner` holds what the rest of the project meets; what the loop has to be told of a task is a
`sluice.learners.torch.network.Network`. Nothing is imported here: the project file reads `sluice.learners.torch.config`.
"""
