// Optimizer steps of one parameter, in place: the formulas of PyTorch's torch.optim, as in tinynet_kernels.reference.
//
// Settings are in the type of the parameters. What does not change is passed as a literal by kernels that are made for
// one kind of training, and then costs nothing.
#pragma once

namespace tinynet {

/// The gradient of the loss plus weight_decay / 2 * p**2.
template <typename T>
__device__ __forceinline__ T decayed(T g, T p, T weight_decay) {
    return weight_decay != 0 ? g + weight_decay * p : g;
}

/// Gradient descent. Momentum in PyTorch's form (the learning rate multiplies the velocity); Nesterov's after Sutskever
/// et al. (2013), in PyTorch's form. Without momentum the velocity is not touched.
template <typename T>
__device__ __forceinline__ void sgd(
    T& p, T g, T& velocity, T learning_rate, T momentum, bool nesterov, T weight_decay) {
    g = decayed(g, p, weight_decay);
    if (momentum != 0) {
        velocity = momentum * velocity + g;
        g = nesterov ? g + momentum * velocity : velocity;
    }
    p -= learning_rate * g;
}

/// Adam (Kingma and Ba, 2015, algorithm 1), and AdamW (Loshchilov and Hutter, 2019, algorithm 2).
///
/// rate is learning_rate / (1 - beta1**step), correction is sqrt(1 - beta2**step), new1 and new2 are 1 - beta1 and
/// 1 - beta2. For AdamW keep is 1 - learning_rate * weight_decay, and weight_decay 0; for Adam keep is 1.
template <typename T>
__device__ __forceinline__ void adam(
    T& p, T g, T& first, T& second, T rate, T correction, T new1, T beta2, T new2, T epsilon, T weight_decay, T keep) {
    g = decayed(g, p, weight_decay);
    first += new1 * (g - first);
    second = beta2 * second + new2 * g * g;
    p = keep * p - rate * (first / (sqrt(second) / correction + epsilon));
}

/// RMSprop (Tieleman and Hinton, 2012, lecture 6.5); centered as in Graves (2013), equations 38-45.
///
/// Departs from PyTorch in one point: the centered variance is kept from falling below 0 by rounding. Without momentum
/// the velocity is not touched, nor the average where it is not centered. fresh is 1 - alpha.
template <typename T>
__device__ __forceinline__ void rmsprop(
    T& p, T g, T& square, T& velocity, T& average, T learning_rate, T alpha, T fresh, T epsilon, T weight_decay,
    T momentum, bool centered) {
    g = decayed(g, p, weight_decay);
    square = alpha * square + fresh * g * g;
    T variance = square;
    if (centered) {
        average += fresh * (g - average);
        variance -= average * average;
        variance = variance < 0 ? T(0) : variance;
    }
    T direction = g / (sqrt(variance) + epsilon);
    if (momentum != 0) {
        direction += momentum * velocity;
        velocity = direction;
    }
    p -= learning_rate * direction;
}

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
