"""Work flows over runs: convert, certify, fine-tune, distill, compose, ablate, train classifiers."""
