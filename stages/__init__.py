"""A thin script for each stage of dvc.yaml, run from the project's root: python -m stages.pretrain erm 0"""
