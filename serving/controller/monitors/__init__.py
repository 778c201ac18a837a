"""The controller of `ModelMonitor`: the prediction log read as it grows, what it says in gauges, conditions and Events, and retrainings."""
