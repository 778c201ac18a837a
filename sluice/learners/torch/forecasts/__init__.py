"""Forecasts by the torch learner: a linear model over the seasonal naive forecast, and residual blocks over what it leaves."""
