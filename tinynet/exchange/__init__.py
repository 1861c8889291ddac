"""Exchange with other programs: safetensors and ONNX files, C source, and networks of scikit-learn and PyTorch."""
