"""What ``import seqloom`` gives: trainings, searches and bundles as objects, for notebooks."""
