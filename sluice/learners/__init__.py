"""How a model is learnt."""
