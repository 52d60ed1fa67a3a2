"""What make and users call beside DVC, run from the project's root: python -m scripts.relist"""
