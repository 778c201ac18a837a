"""Images by the torch learner: a small CNN, or a ResNet of torchvision."""
