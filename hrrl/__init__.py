"""Hierarchically Robust Representation Learning (Qian, Hu, Li, CVPR 2020)."""
