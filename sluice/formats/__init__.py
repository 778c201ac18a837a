"""Forms of a trained model that can be shipped: made, measured beside fp32, one chosen."""
