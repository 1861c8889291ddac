"""Descents: models that go down by the steps of Levenberg and Marquardt, without Python between these."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinynet_kernels.cpu.generated.descent_table import NUMBERS, Words
from tinynet_kernels.cpu.generated.equations import Array, Equations, Samples, Threads
from tinynet_kernels.cpu.generated.frame import PLACES
from tinynet_kernels.cpu.generated.layout import LINE
from tinynet_kernels.cpu.generated.passes import Passes, Steps, address, n_parameters, starts
from tinynet_kernels.descent import STEP
from tinynet_kernels.network import Layer, Loss

WHOLE_BYTES = 3 << 17
"""Of all samples on their way forward and back, if they are held as a whole: where a step has led, the next begins."""


class Descents(Equations):
    """Equations of which the steps are made, too, of up to ``LARGEST_SOLVED`` parameters.

    Parameters
    ----------
    layers, trained, loss, n_samples
        As of ``Equations``.
    """

    def __init__(self, layers: tuple[Layer, ...], trained: Sequence[bool], loss: Loss, n_samples: int) -> None:
        super().__init__(layers, trained, loss, n_samples)
        begins = starts([n_parameters(layer) for layer in layers])
        self._where = np.concatenate([np.arange(begins[i], begins[i + 1]) for i in self.rows])
        columns = self.columns + layers[0].n_in + 4 * sum(layer.n_out for layer in layers)
        self._whole = self.parts == 1 and 8 * self.padded * columns <= WHOLE_BYTES
        self._size = self._write_descent(-(-max(self._sums.size, self._values.size) // LINE) * LINE)
        for name, kernel in (("solution", "solve"), ("descend", "descend")):
            self._add(name, kernel)

    def descend(
        self, parameters: Array, buffers: Array, samples: Samples, numbers: Array, told: Array, threads: Threads
    ) -> None:
        """Let each model make as many steps as there are rows of losses, or fewer where it stops.

        Parameters
        ----------
        parameters : (n_models, n_parameters) float64 array
            Changed by the steps.
        buffers, samples
            See ``Equations.sums``.
        numbers : (n_models, len(NUMBERS) + n) float64 array
            Of each model, and changed by the steps: see ``NUMBERS``.
        told : (n_epochs, n_models) float64 array
            Where a step is made the loss is written.
        threads : callable
        """
        if self.parts == 1 or len(parameters) >= threads():
            self._descend(parameters, buffers, samples, numbers, told, None, threads)
            return
        # Fewer models than threads, which share the samples in every step.
        made = np.zeros(len(numbers))
        for losses in told:
            going = np.flatnonzero(numbers[:, _STOP] == 0)
            if not len(going):
                break
            own, held, found = parameters[going], numbers[going], losses[np.newaxis, going]
            own_buffers = buffers[going] if len(buffers) > 1 else buffers
            chosen = samples._replace(masses=samples.masses[going]) if len(samples.masses) > 1 else samples
            sums = self.sums(own, own_buffers, chosen, threads)
            self._descend(own, own_buffers, chosen, held, found, sums, threads)
            parameters[going], numbers[going], losses[going] = own, held, found[0]
            made[going] += held[:, _MADE]
        numbers[:, _MADE] = made

    def _descend(
        self,
        parameters: Array,
        buffers: Array,
        samples: Samples,
        numbers: Array,
        told: Array,
        sums: tuple[Array, Array] | None,
        threads: Threads,
    ) -> None:
        numbers[:, _GIVEN] = sums is not None
        losses, matrices = sums or (told, told)
        words = self._words(parameters, buffers, samples, matrices, losses)
        words |= {_NUMBERS: address(numbers), _TOLD: address(told), _MODELS: len(parameters), _EPOCHS: len(told)}
        self._run("descend", words, len(parameters), told.size * self.work, threads)

    def _write_descent(self, end: int) -> int:
        """Write the tables of what a model has in hand from ``end`` on; return the size of the arena."""
        vectors = ("decay", "scale", "diagonal", "step", "correction", "bent")
        points = ("trial", "before", "behind", "middle")
        sizes = dict.fromkeys(vectors, self.n) | dict.fromkeys(points, self.n_parameters)
        sizes |= {"matrix": self.columns * self.line // 8 * min(self.parts, 2), "losses": self.parts + 1}
        places = {}
        for name, size in sizes.items():
            places[name], end = end, end + -(-size * 8 // LINE) * LINE
        ahead, back = ("values", "sums") if not self._whole else ("ahead", "back")
        if self._whole:
            end = self._write_whole(end)
        steps = Steps(self._block)
        steps.size = end
        self._write_bend(steps, [places[name] for name in points[1:]])
        self._tables["bend"] = steps.words((self._block, self.padded, 1, -(-self.n * 8 // LINE) * LINE))
        self._tables["solution"] = self._write_solution(-(-steps.size // LINE) * LINE)
        words = Words(
            **{name: self._kernels[name] for name in ("drive_items", "solve", "solve_again", "trace")},
            sums=address(self._tables[back]),
            values=address(self._tables[ahead]),
            **{name: address(self._tables[name]) for name in ("bend", "solution")},
            where=address(self._where),
            whole=int(self._whole),
            **{name: getattr(self, name) for name in ("n", "n_parameters", "columns", "line", "parts")},
            **places,
        )
        self._tables["descend"] = np.array(words, np.int64)
        return self._solution.size

    def _write_whole(self, end: int) -> int:
        """Write the way forward of all samples, and the ways back from where it has led; return where this ends."""
        ahead, back = Steps(self.padded), Steps(self.padded)
        ahead.size = end
        jacobian = ahead.take(self.columns)
        passes = Passes(self.layers, ahead, slopes=True)
        loss = self._write_loss(ahead, passes)
        back.size = ahead.size
        self._write_back(back, jacobian, passes, *loss)
        self._tables["ahead"] = ahead.words((self.padded, self.padded, 1, 0))
        self._tables["back"] = back.words((self.padded, self.padded, 1, self.columns * self.line))
        return back.size

    def _write_bend(self, steps: Steps, points: Sequence[int]) -> None:
        """Write ``J' H K``, ``K`` the second derivative of the predictions along a line, from three points of it."""
        n_out, sides = self.layers[-1].n_out, []
        for place in points[:2]:
            steps.add("descent", "bind", place)
            sides.append(Passes(self.layers, steps, slopes=False).output)
        steps.add("descent", "bind", points[2])
        passes = Passes(self.layers, steps, slopes=True)
        steps.add("descent", "difference", sides[0], passes.output, sides[1], n_out, STEP**-2)
        heights, _ = self._write_loss(steps, passes)  # It may write to the output.
        steps.add("descent", "curvatures_times", heights, sides[0], n_out, passes.output, int(self.rowwise))
        passes.back(sides[0], {i: 8 * row for i, row in self.rows.items()}, last=min(self.rows), summed=True)


_STOP, _MADE, _GIVEN = (NUMBERS.index(name) for name in ("stop", "made", "given"))
_NUMBERS, _TOLD, _MODELS, _EPOCHS = (PLACES[name] for name in ("numbers", "model_losses", "n_members", "n_epochs"))
