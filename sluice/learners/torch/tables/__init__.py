"""Tables by the torch learner: a linear model, and an ensemble of perceptrons over what it leaves."""
