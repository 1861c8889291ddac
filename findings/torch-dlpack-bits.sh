#!/usr/bin/env bash
# PyTorch 2.13.0 with NumPy 2.4.6.
#
# Belief: what a tensor shares by DLPack is what the tensor says; where it cannot be, it is refused, as a conjugated tensor
#   is ("Can't export tensors with the conjugate bit set", torch/_tensor.py, Tensor.__dlpack__, whose comment says that
#   tensors which would lose such properties are not exported).
# Behaviour: a tensor with the negative bit (torch.conj(z).imag: a view, https://docs.pytorch.org/docs/stable/conj.html)
#   is exported without it: all signs are turned. Tensor.numpy() refuses the same tensor.
# Seen: "torch [1.0, 2.0] from DLPack [-1.0, -2.0]", and RuntimeError of numpy(): "Can't call numpy() on Tensor that has
#   negative bit set. Use tensor.resolve_neg().numpy() instead."
# What we do: take a tensor by its own numpy(), after resolve_conj() and resolve_neg() (tinynet/base/arrays.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" "torch==2.13.0" "numpy==2.4.6"
PYTHONPATH="$folder" python3 -W ignore - <<'PYTHON'
import numpy as np
import torch

tensor = torch.complex(torch.zeros(2), torch.tensor([-1.0, -2.0])).conj().imag
assert tensor.is_neg()
shared = np.from_dlpack(tensor)
print("torch", tensor.tolist(), "from DLPack", shared.tolist())
assert tensor.tolist() == [1.0, 2.0]
assert shared.tolist() == [-1.0, -2.0]
try:
    tensor.numpy()
except RuntimeError as error:
    print("numpy():", error)
    assert "negative bit" in str(error)
else:
    raise SystemExit("numpy() no longer refuses it")
try:
    np.from_dlpack(torch.complex(tensor, tensor).conj())
except BufferError as error:
    print("conjugated:", error)
else:
    raise SystemExit("a conjugated tensor is no longer refused")
PYTHON
