"""Images: where conversions and initial potentials were first shown, as networks, data sets and a training loop."""
