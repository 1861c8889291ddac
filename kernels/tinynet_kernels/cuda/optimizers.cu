// Kernels of the optimizers: one pass over the whole flat vector of parameters. Gradients are only read.
#include "optimizers.cuh"
#include "reduce.cuh"
#include "types.cuh"

namespace tinynet {

/// moments holds n velocities where momentum is not 0, and nothing otherwise.
template <typename T>
__global__ void sgd_step(
    T* parameters, const T* gradients, T* moments, Index n, T learning_rate, T momentum, bool nesterov,
    T weight_decay) {
    for (Index i = first_x(); i < n; i += step_x()) {
        T p = parameters[i], velocity = momentum != 0 ? moments[i] : T(0);
        sgd(p, gradients[i], velocity, learning_rate, momentum, nesterov, weight_decay);
        parameters[i] = p;
        if (momentum != 0) {
            moments[i] = velocity;
        }
    }
}

/// moments holds n first moments, then n second moments.
template <typename T>
__global__ void adam_step(
    T* parameters, const T* gradients, T* moments, Index n, T rate, T correction, T new1, T beta2, T new2, T epsilon,
    T weight_decay, T keep) {
    for (Index i = first_x(); i < n; i += step_x()) {
        T p = parameters[i], first = moments[i], second = moments[n + i];
        adam(p, gradients[i], first, second, rate, correction, new1, beta2, new2, epsilon, weight_decay, keep);
        parameters[i] = p;
        moments[i] = first;
        moments[n + i] = second;
    }
}

/// moments holds n averages of the squares; n velocities if momentum is not 0; n averages of the gradients if centered.
template <typename T>
__global__ void rmsprop_step(
    T* parameters, const T* gradients, T* moments, Index n, T learning_rate, T alpha, T fresh, T epsilon,
    T weight_decay, T momentum, bool centered) {
    const Index averages = momentum != 0 ? 2 * n : n;
    for (Index i = first_x(); i < n; i += step_x()) {
        T p = parameters[i], square = moments[i];
        T velocity = momentum != 0 ? moments[n + i] : T(0);
        T average = centered ? moments[averages + i] : T(0);
        rmsprop(
            p, gradients[i], square, velocity, average, learning_rate, alpha, fresh, epsilon, weight_decay, momentum,
            centered);
        parameters[i] = p;
        moments[i] = square;
        if (momentum != 0) {
            moments[n + i] = velocity;
        }
        if (centered) {
            moments[averages + i] = average;
        }
    }
}

/// Add the gradient of strength / 2 * sum(weights**2); sums gets the sum of squares of what each block took.
template <typename T>
__global__ void l2_penalty(const T* weights, T* gradients, Index n, T strength, double* sums) {
    double sum[1] = {0};
    for (Index i = first_x(); i < n; i += step_x()) {
        const T w = weights[i];
        gradients[i] += strength * w;
        sum[0] += double(w) * double(w);
    }
    block_sum(sum);
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = sum[0];
    }
}

/// The sums of squares of what each block took: three numbers each.
template <typename T>
__global__ void squared_norms(const T* values, Index n, double* sums) {
    SquaredNorm sum;
    for (Index i = first_x(); i < n; i += step_x()) {
        sum.add(values[i]);
    }
    block_sum(sum.squares);
    if (threadIdx.x == 0) {
        for (int unit = 0; unit < SquaredNorm::units; ++unit) {
            sums[SquaredNorm::units * blockIdx.x + unit] = sum.squares[unit];
        }
    }
}

/// The 2-norm from the sums of n blocks, by one block.
__global__ void norm_of_sums(const double* sums, Index n, double* norm) {
    SquaredNorm sum;
    for (Index i = first_x(); i < n; i += step_x()) {
        for (int unit = 0; unit < SquaredNorm::units; ++unit) {
            sum.squares[unit] += sums[SquaredNorm::units * i + unit];
        }
    }
    block_sum(sum.squares);
    if (threadIdx.x == 0) {
        norm[0] = sum.norm();
    }
}

/// Scale gradients of this norm so that it becomes at most max_norm.
template <typename T>
__global__ void shrink(T* gradients, Index n, const double* norm, double max_norm) {
    const double coefficient = shrinkage(norm[0], max_norm);
    if (coefficient == 1) {
        return;
    }
    for (Index i = first_x(); i < n; i += step_x()) {
        gradients[i] *= T(coefficient);
    }
}

/// Hold gradients within [-limit, limit].
template <typename T>
__global__ void clip(T* gradients, Index n, T limit) {
    for (Index i = first_x(); i < n; i += step_x()) {
        gradients[i] = clipped(gradients[i], limit);
    }
}

}  // namespace tinynet
