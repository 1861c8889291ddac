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

}  // namespace tinynet
