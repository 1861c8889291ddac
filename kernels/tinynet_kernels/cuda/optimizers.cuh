// What becomes of a gradient: steps of one parameter, in place, written from the formulas (cuda_headers.py), and clipping.
//
// Settings are in the type of the parameters. What does not change is passed as a literal by kernels that are made for
// one kind of training, and then costs nothing. Of Adam, rate is learning_rate / (1 - beta1**step), root is
// 1 / sqrt(1 - beta2**step), new1 and new2 are 1 - beta1 and 1 - beta2. For AdamW keep is 1 - learning_rate * weight_decay,
// and weight_decay 0; for Adam keep is 1. Of RMSprop, fresh is 1 - alpha. Moments that are not used are not touched.
#pragma once

#include "updates.cuh"

namespace tinynet {

/// A gradient held within [-limit, limit]; NaN stays NaN.
template <typename T>
__device__ __forceinline__ T clipped(T g, T limit) {
    g = g > limit ? limit : g;
    return g < -limit ? -limit : g;
}

/// Sum of squares in three units, so that one pass serves numbers of any size: as they are, the squares of doubles
/// overflow above 1e154 and vanish below 1e-154. After Blue (1978), "A portable Fortran program to find the Euclidean
/// norm of a vector", without his branches.
struct SquaredNorm {
    static constexpr int units = 3;
    static constexpr double down = 0x1p-600, up = 0x1p600;  // powers of two: nothing is rounded
    double squares[units] = {0, 0, 0};                      // as they are, shrunk and grown

    __device__ __forceinline__ void add(double value) {
        squares[0] += value * value;
        squares[1] += (value * down) * (value * down);
        squares[2] += (value * up) * (value * up);
    }

    __device__ __forceinline__ double norm() const {
        if (squares[0] > 1e-280 && squares[0] < 1e300) {
            return sqrt(squares[0]);
        }
        return squares[0] > 1 ? sqrt(squares[1]) * up : sqrt(squares[2]) * down;
    }
};

/// What gradients of this norm are multiplied by, as PyTorch's clip_grad_norm_: 1 where the norm is within the limit.
/// NaN stays NaN.
__device__ __forceinline__ double shrinkage(double norm, double max_norm) {
    const double coefficient = max_norm / (norm + 1e-6);
    return coefficient >= 1 ? 1.0 : coefficient;
}

}  // namespace tinynet
