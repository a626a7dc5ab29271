"""Segmentation: pictures and targets to train on, the network, and its way into an ONNX file."""
