"""The points of the concept axis: a file for each, named as its key in params.yaml."""
