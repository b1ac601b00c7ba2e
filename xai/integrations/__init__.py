"""Other tools beside the toolkit: MLflow, supervision, pandas. They are imported when they are asked for."""
