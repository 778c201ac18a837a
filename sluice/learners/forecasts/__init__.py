"""What every model of forecasts is fitted with before it is, and the one of boosted trees."""
