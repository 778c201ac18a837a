"""From environment to environment: what must hold before a model goes on, how it goes there, and the way back."""
