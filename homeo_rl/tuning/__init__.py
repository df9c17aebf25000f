"""Search for hyper-parameters with Optuna: many trainings, one journal."""
