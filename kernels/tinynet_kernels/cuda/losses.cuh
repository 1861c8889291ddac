// Losses: the value and, from the same terms, the gradient.
//
// A kind is a struct of the name that tinynet_kernels.kinds.LOSSES gives it. An elementwise loss has `at`: value and
// slope for one prediction and its target. The others have `row`: a sample's predictions p and targets t, n of them,
// taken by the lanes of a group together; every lane returns the value of the loss, and d is filled with its gradient
// times a factor. d may be p. All threads of a warp call `row` together; those without a sample pass n = 0.
#pragma once

#include "lanes.cuh"

namespace tinynet {

/// The value of a loss, and its derivative with respect to the prediction.
template <typename T>
struct ValueAndSlope {
    T value, slope;
};

/// -t * max(log p, -100), PyTorch's bound, and its derivative with respect to p: 0 where the logarithm is clamped.
template <typename T>
__device__ __forceinline__ ValueAndSlope<T> surprise(T log_p, T p, T t) {
    return log_p <= -100 ? ValueAndSlope<T>{t * T(100), T(0)} : ValueAndSlope<T>{-t * log_p, -t / p};
}

namespace loss {

struct mse {
    static constexpr bool elementwise = true;
    template <typename T>
    static __device__ __forceinline__ ValueAndSlope<T> at(T p, T t, T parameter) {
        const T d = p - t;
        return {d * d, 2 * d};
    }
};

/// The slope at 0 is 0.
struct mae {
    static constexpr bool elementwise = true;
    template <typename T>
    static __device__ __forceinline__ ValueAndSlope<T> at(T p, T t, T parameter) {
        const T d = p - t;
        return {fabs(d), d > 0 ? T(1) : d < 0 ? T(-1) : d};
    }
};

/// Huber (1964), in PyTorch's scaling: d**2 / 2 within delta of 0, delta * (|d| - delta / 2) beyond.
struct huber {
    static constexpr bool elementwise = true;
    template <typename T>
    static __device__ __forceinline__ ValueAndSlope<T> at(T p, T t, T delta) {
        const T d = p - t, size = fabs(d);
        const T value = size <= delta ? T(0.5) * d * d : delta * (size - T(0.5) * delta);
        return {value, d > delta ? delta : d < -delta ? -delta : d};
    }
};

/// -(t log p + (1 - t) log(1 - p)), each logarithm at least -100; the gradient is that of this clamped value.
struct bce {
    static constexpr bool elementwise = true;
    template <typename T>
    static __device__ __forceinline__ ValueAndSlope<T> at(T p, T t, T parameter) {
        const ValueAndSlope<T> one = surprise<T>(log(p), p, t);
        const ValueAndSlope<T> zero = surprise<T>(log1p(-p), 1 - p, 1 - t);
        return {one.value + zero.value, one.slope - zero.slope};
    }
};

/// log(1 + exp(z)) - t z, and sigmoid(z) - t.
///
/// With e = exp(-|z|) both are sums of terms of one sign for t = 0 and t = 1, so that small losses keep their digits.
struct bce_logits {
    static constexpr bool elementwise = true;
    template <typename T>
    static __device__ __forceinline__ ValueAndSlope<T> at(T z, T t, T parameter) {
        const T e = exp(-fabs(z)), tail = e / (1 + e);
        return {log1p(e) + fabs(z) * (z > 0 ? 1 - t : t), z > 0 ? (1 - t) - tail : tail - t};
    }
};

/// Half the Poisson deviance of the rate exp(z): exp(z) - t z + t log t - t, and exp(z) - t.
struct poisson_log {
    static constexpr bool elementwise = true;
    template <typename T>
    static __device__ __forceinline__ ValueAndSlope<T> at(T z, T t, T parameter) {
        const T d = exp(z) - t;
        return {d - t * (z - log(t > 0 ? t : T(1))), d};
    }
};

/// -t log p, the logarithm at least -100; where it is clamped the gradient is 0.
struct cross_entropy_probabilities {
    static constexpr bool elementwise = true;
    template <typename T>
    static __device__ __forceinline__ ValueAndSlope<T> at(T p, T t, T parameter) {
        return surprise<T>(log(p), p, t);
    }
};

/// -sum_j t_j log softmax(z)_j, whose gradient is softmax(z) * sum(t) - t.
struct cross_entropy {
    static constexpr bool elementwise = false;
    template <typename T>
    using Target = T;

    template <typename T>
    static __device__ T row(const T* z, const T* t, T* d, Index n, T factor, Lanes lanes) {
        const T peak = row_peak(z, n, lanes);
        T dot = 0, e_sum = 0, t_sum = 0;
        for (Index j = lanes.rank(); j < n; j += lanes.count) {
            const T shifted = z[j] - peak, e = exp(shifted);
            dot += t[j] * shifted;
            t_sum += t[j];
            e_sum += e;
            d[j] = e;
        }
        dot = lanes.sum(dot);
        t_sum = lanes.sum(t_sum);
        e_sum = lanes.sum(e_sum);
        for (Index j = lanes.rank(); j < n; j += lanes.count) {
            d[j] = factor * (d[j] / e_sum * t_sum - t[j]);
        }
        return log(e_sum) * t_sum - dot;
    }
};

/// -log softmax(z)_c, whose gradient is softmax(z), less 1 at c. t points to the class number c.
struct cross_entropy_index {
    static constexpr bool elementwise = false;
    template <typename T>
    using Target = Index;

    template <typename T>
    static __device__ T row(const T* z, const Index* t, T* d, Index n, T factor, Lanes lanes) {
        const T peak = row_peak(z, n, lanes);
        const Index c = n > 0 ? *t : 0;
        T shifted_c = 0, e_sum = 0;
        for (Index j = lanes.rank(); j < n; j += lanes.count) {
            const T shifted = z[j] - peak, e = exp(shifted);
            shifted_c += j == c ? shifted : T(0);
            e_sum += e;
            d[j] = e;
        }
        shifted_c = lanes.sum(shifted_c);
        e_sum = lanes.sum(e_sum);
        for (Index j = lanes.rank(); j < n; j += lanes.count) {
            d[j] = factor * (d[j] / e_sum - T(j == c));
        }
        return log(e_sum) - shifted_c;
    }
};

/// -log p_c, the logarithm at least -100; where it is clamped the gradient is 0. t points to the class number c.
struct cross_entropy_probabilities_index {
    static constexpr bool elementwise = false;
    template <typename T>
    using Target = Index;

    template <typename T>
    static __device__ T row(const T* p, const Index* t, T* d, Index n, T factor, Lanes lanes) {
        const Index c = n > 0 ? *t : 0;
        T value = 0;
        for (Index j = lanes.rank(); j < n; j += lanes.count) {
            T slope = 0;
            if (j == c) {
                const ValueAndSlope<T> loss = surprise<T>(log(p[j]), p[j], T(1));
                value = loss.value;
                slope = loss.slope;
            }
            d[j] = factor * slope;
        }
        return lanes.sum(value);
    }
};

}  // namespace loss
}  // namespace tinynet
