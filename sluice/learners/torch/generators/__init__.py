"""Networks that make small pictures of noise: a variational autoencoder and a generative adversarial network."""
