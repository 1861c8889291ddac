"""The teaching notebook's own classes: its names, signatures, attributes and numbers, on every backend.

Everything is float64 and a plain ``ndarray``. Weights and random samples come from NumPy's global generator, drawn as
the notebook draws them, so ``np.random.seed`` repeats a run. The notebook's peculiarities are kept, since its figures
depend on them; the native call beside each (``import tinynet as tn``) does without it:

- ``Linear``'s ``_var`` is a standard deviation. There: ``tn.Linear(4, 3, weight_init=tn.Normal(0.01))``.
- ``MeanSquareError`` reports the sum over a batch, but differentiates that sum times the batch size. There:
  ``tn.MeanSquaredError(reduction="sum")``, with ``batchSize`` times the learning rate for equal steps.
- ``AbsoluteError`` reports the mean over a batch, but differentiates the sum. There: ``tn.MeanAbsoluteError()``, or
  ``reduction="sum"``; each differentiates what it reports.
- ``BinaryCrossEntropy`` reports the mean over samples, but differentiates it times the batch size squared. There:
  ``tn.BinaryCrossEntropy()``, or ``from_logits=True`` for a network without a last ``Sigmoid``.
- ``run`` drops an incomplete last batch. There: ``fit`` does not, unless ``drop_last=True``.
- ``run(shuffle=True)`` samples with replacement. There: ``fit(shuffle=True)``, a permutation of the samples.
- ``run`` divides what the loss reports, summed over the batches, by the samples: a loss per sample for a sum, but for a
  mean one that shrinks with ``batchSize``. There: ``history["loss"]``, the mean, whatever the batch size.

Where the notebook's code could not run (``Sigmoid`` and ``TanH`` overflow far from 0, ``BinaryCrossEntropy.backward``
reads attributes that nobody sets), the formula that was meant is computed, stably.
"""

from __future__ import annotations

from tinynet.notebook.activations import ReLU, Sigmoid, TanH
from tinynet.notebook.linear import Linear
from tinynet.notebook.losses import AbsoluteError, BinaryCrossEntropy, MeanSquareError
from tinynet.notebook.model import SimpleModel

__all__ = ["AbsoluteError", "BinaryCrossEntropy", "Linear", "MeanSquareError", "ReLU", "Sigmoid", "SimpleModel", "TanH"]
