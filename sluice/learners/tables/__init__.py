"""What every learner of tables fits first: the pre-processing, and the moments and categories of its inputs."""
