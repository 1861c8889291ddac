"""Whole epochs, and predictions, in as few launches as there can be.

A network is described as plain data (``tinynet_kernels.network``); ``prelude`` writes its sizes and kinds as constants
of C++, and the kernel files beside it are compiled with them by NVRTC when a network first needs one.
"""
