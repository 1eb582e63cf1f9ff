"""One package a pipeline: nodes (glue) and pipeline (the graph). Kedro finds them by their folder."""
