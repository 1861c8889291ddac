// Kernels of the optimizers: one pass over the whole flat vector of parameters. Gradients are only read.
//
// Of many models, parameters and gradients are (n_models, n). From one of their moments to the next it is moments_step,
// and each model has a row of `numbers`: the settings of the kernel for one model, in their order.
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

/// sgd_step of many models.
template <typename T>
__global__ void sgd_steps(
    T* parameters, const T* gradients, T* moments, Index n, Index moments_step, const T* numbers) {
    numbers += model_of_block() * 4;
    const T learning_rate = numbers[0], momentum = numbers[1], weight_decay = numbers[3];
    const bool nesterov = numbers[2] != 0;
    for (Index i = first_x(); i < n; i += step_x()) {
        const Index at = model_of_block() * n + i;
        T p = parameters[at], velocity = momentum != 0 ? moments[at] : T(0);
        sgd(p, gradients[at], velocity, learning_rate, momentum, nesterov, weight_decay);
        parameters[at] = p;
        if (momentum != 0) {
            moments[at] = velocity;
        }
    }
}

/// moments holds n first moments, then n second moments.
template <typename T>
__global__ void adam_step(
    T* parameters, const T* gradients, T* moments, Index n, T rate, T root, T new1, T beta2, T new2, T epsilon,
    T weight_decay, T keep) {
    for (Index i = first_x(); i < n; i += step_x()) {
        T p = parameters[i], first = moments[i], second = moments[n + i];
        adam(p, gradients[i], first, second, rate, root, new1, beta2, new2, epsilon, weight_decay, keep);
        parameters[i] = p;
        moments[i] = first;
        moments[n + i] = second;
    }
}

/// adam_step of many models.
template <typename T>
__global__ void adam_steps(
    T* parameters, const T* gradients, T* moments, Index n, Index moments_step, const T* numbers) {
    numbers += model_of_block() * 8;
    const T rate = numbers[0], root = numbers[1], new1 = numbers[2], beta2 = numbers[3], new2 = numbers[4];
    const T epsilon = numbers[5], weight_decay = numbers[6], keep = numbers[7];
    for (Index i = first_x(); i < n; i += step_x()) {
        const Index at = model_of_block() * n + i;
        T p = parameters[at], first = moments[at], second = moments[moments_step + at];
        adam(p, gradients[at], first, second, rate, root, new1, beta2, new2, epsilon, weight_decay, keep);
        parameters[at] = p;
        moments[at] = first;
        moments[moments_step + at] = second;
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

/// rmsprop_step of many models. If any of them has momentum, the averages of the gradients come after the velocities.
template <typename T>
__global__ void rmsprop_steps(
    T* parameters, const T* gradients, T* moments, Index n, Index moments_step, const T* numbers, bool velocities) {
    numbers += model_of_block() * 7;
    const T learning_rate = numbers[0], alpha = numbers[1], fresh = numbers[2], epsilon = numbers[3];
    const T weight_decay = numbers[4], momentum = numbers[5];
    const bool centered = numbers[6] != 0;
    const Index averages = velocities ? 2 * moments_step : moments_step;
    for (Index i = first_x(); i < n; i += step_x()) {
        const Index at = model_of_block() * n + i;
        T p = parameters[at], square = moments[at];
        T velocity = momentum != 0 ? moments[moments_step + at] : T(0);
        T average = centered ? moments[averages + at] : T(0);
        rmsprop(
            p, gradients[at], square, velocity, average, learning_rate, alpha, fresh, epsilon, weight_decay, momentum,
            centered);
        parameters[at] = p;
        moments[at] = square;
        if (momentum != 0) {
            moments[moments_step + at] = velocity;
        }
        if (centered) {
            moments[averages + at] = average;
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
    values += model_of_block() * n;
    sums += model_of_block() * gridDim.x * SquaredNorm::units;
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

/// The 2-norm from the sums of n blocks, by one block for each model.
__global__ void norm_of_sums(const double* sums, Index n, double* norm) {
    SquaredNorm sum;
    sums += model_of_block() * n * SquaredNorm::units;
    for (Index i = first_x(); i < n; i += step_x()) {
        for (int unit = 0; unit < SquaredNorm::units; ++unit) {
            sum.squares[unit] += sums[SquaredNorm::units * i + unit];
        }
    }
    block_sum(sum.squares);
    if (threadIdx.x == 0) {
        norm[model_of_block()] = sum.norm();
    }
}

/// Scale gradients of this norm so that it becomes at most max_norm: that of all models, or one of max_norms.
template <typename T>
__global__ void shrink(
    T* gradients, Index n, const double* norm, double max_norm, bool own_max_norm, const double* max_norms) {
    const Index model = model_of_block();
    gradients += model * n;
    const double coefficient = shrinkage(norm[model], own_max_norm ? max_norms[model] : max_norm);
    if (coefficient == 1) {
        return;
    }
    for (Index i = first_x(); i < n; i += step_x()) {
        gradients[i] *= T(coefficient);
    }
}

/// Hold gradients within [-limit, limit]; the limit is that of all models, or one of `limits`.
template <typename T>
__global__ void clip(T* gradients, Index n, T limit, bool own_limit, const T* limits) {
    const T* const own = limits + model_of_block();
    gradients += model_of_block() * n;
    limit = own_limit ? *own : limit;
    for (Index i = first_x(); i < n; i += step_x()) {
        gradients[i] = clipped(gradients[i], limit);
    }
}

}  // namespace tinynet
