"""Arms over benchmarks: asking (run.py), scores from the answers on disk (scores.py), statistics.py."""
