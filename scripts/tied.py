"""Importing this ties a process to its parent: Python's fork server would outlive a killed run, and train on."""

from hrrl import launch

launch.tie_to_parent()
