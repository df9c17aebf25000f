"""Policies and compiled networks as files of other tools: NIR graphs, ONNX models, plain safetensors; NIR graphs also
come back."""
