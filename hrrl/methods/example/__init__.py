"""The points of the example axis: a file for each, named as its key in params.yaml."""
