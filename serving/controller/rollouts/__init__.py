"""The controller of ModelRollout."""
