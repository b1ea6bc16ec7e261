"""Training of the denoiser: configuration, objective, validation, the loop."""
