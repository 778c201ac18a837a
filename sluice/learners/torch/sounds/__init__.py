"""Recordings by the torch learner: a log-mel spectrogram inside the graph, behind it a CNN or a transformer."""
