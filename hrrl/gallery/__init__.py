"""Pictures of what happens: the benchmark, the targets, what a perturbation does, what q weights, nearest neighbours.

All are made from the real files, draw images by a seed and never by a result, unless their text says so. Each panel
writes sheets of images into a folder and returns what is in them as plain values, which the report shows
(:mod:`hrrl.report`).
"""
