// Kernels of softmax: a group of `lanes` threads for each row.
#include "softmax.cuh"

namespace tinynet {

/// y = softmax(z) of every row. y may be z.
template <typename T>
__global__ void softmax_forward(const T* z, T* y, Index rows, Index columns, int lanes) {
    const RowsOfLanes group(lanes);
    for (Index base = group.first; base < rows; base += group.step) {
        const Index row = base + group.offset;
        softmax_row(z + row * columns, y + row * columns, row < rows ? columns : 0, Lanes{lanes});
    }
}

/// dz from dy, for every row. dz may be dy.
template <typename T>
__global__ void softmax_backward(const T* y, const T* dy, T* dz, Index rows, Index columns, int lanes) {
    const RowsOfLanes group(lanes);
    for (Index base = group.first; base < rows; base += group.step) {
        const Index row = base + group.offset, at = row * columns;
        softmax_backward_row(y + at, dy + at, dz + at, row < rows ? columns : 0, Lanes{lanes});
    }
}

/// dz += the derivative by z of what a loss says of directions t that went through softmax, for every row; a thread each.
template <typename T>
__global__ void softmax_curvature(const T* y, const T* t, const T* dt, T* dz, Index rows, Index columns, Index directions) {
    for (Index row = first_x(); row < rows; row += step_x()) {
        const T* p = y + row * columns;
        T* out = dz + row * columns;
        for (Index d = 0; d < directions; ++d) {
            const T* a = t + (d * rows + row) * columns;
            const T* b = dt + (d * rows + row) * columns;
            T along = 0, gradient = 0, both = 0;
            for (Index j = 0; j < columns; ++j) {
                along += p[j] * a[j];
                gradient += p[j] * b[j];
                both += p[j] * (a[j] * b[j]);
            }
            const T mean = both - along * gradient - along * gradient;
            for (Index j = 0; j < columns; ++j) {
                out[j] += p[j] * (b[j] * (a[j] - along) - a[j] * gradient - mean);
            }
        }
    }
}

}  // namespace tinynet
