"""What is asked of finished runs: two side by side, many in a row, which photos to collect."""
