// Softmax of a row, taken by the lanes of a group together. All threads of a warp make the same calls; those without a
// row pass n = 0.
#pragma once

#include "lanes.cuh"

namespace tinynet {

/// exp(z) / sum(exp(z)), shifted so that the largest term is 1. y may be z.
template <typename T>
__device__ void softmax_row(const T* z, T* y, Index n, Lanes lanes) {
    const T peak = row_peak(z, n, lanes);
    T total = 0;
    for (Index j = lanes.rank(); j < n; j += lanes.count) {
        const T e = exp(z[j] - peak);
        total += e;
        y[j] = e;
    }
    total = lanes.sum(total);
    for (Index j = lanes.rank(); j < n; j += lanes.count) {
        y[j] /= total;
    }
}

/// y * (dy - <dy, y>): the Jacobian is diag(y) - y y^T. dz may be dy.
template <typename T>
__device__ void softmax_backward_row(const T* y, const T* dy, T* dz, Index n, Lanes lanes) {
    T dot = 0;
    for (Index j = lanes.rank(); j < n; j += lanes.count) {
        dot += dy[j] * y[j];
    }
    dot = lanes.sum(dot);
    for (Index j = lanes.rank(); j < n; j += lanes.count) {
        dz[j] = y[j] * (dy[j] - dot);
    }
}

}  // namespace tinynet
