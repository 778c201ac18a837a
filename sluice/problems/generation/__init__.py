"""Generation: samples that look as if they came from where the training rows did, judged as sets."""
