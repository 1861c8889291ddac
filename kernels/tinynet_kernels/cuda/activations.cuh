// Activations of one number: the value f(z) and, beside it, the derivative f'(z, y).
//
// A kind is a struct of the name that tinynet_kernels.kinds.ACTIVATIONS gives it, and kernels take it as a template
// argument. `derivative` reads z where `reads_z` says so, and y alone elsewhere. Comparisons are written so that NaN
// stays NaN. exp, expm1, log1p, tanh and erfc are CUDA's, whose errors are at most 2, 1, 1, 2 and 5 ulp (CUDA C++
// Programming Guide, "Mathematical Functions"); what follows from them is held to the bounds of kernels/README.md.
#pragma once

namespace tinynet {

/// 1 / (1 + exp(-z)), written so that the exponential cannot overflow and the left tail keeps its digits.
template <typename T>
__device__ __forceinline__ T logistic(T z) {
    const T e = exp(-fabs(z));
    return (z < 0 ? e : T(1)) / (1 + e);
}

/// Phi(z) by erfc, since 1 + erf has no digits in the left tail.
template <typename T>
__device__ __forceinline__ T normal_cdf(T z) {
    return T(0.5) * erfc(z * T(-0.7071067811865476));
}

/// z, kept within [low, high]; NaN stays NaN.
template <typename T>
__device__ __forceinline__ T clamp(T z, T low, T high) {
    z = z < low ? low : z;
    return z > high ? high : z;
}

namespace activation {

struct identity {
    static constexpr bool reads_z = false;
    template <typename T>
    static __device__ __forceinline__ T value(T z, T alpha) {
        return z;
    }
    template <typename T>
    static __device__ __forceinline__ T derivative(T z, T y, T alpha) {
        return T(1);
    }
};

struct sigmoid {
    static constexpr bool reads_z = false;
    template <typename T>
    static __device__ __forceinline__ T value(T z, T alpha) {
        return logistic(z);
    }
    template <typename T>
    static __device__ __forceinline__ T derivative(T z, T y, T alpha) {
        return y * (1 - y);
    }
};

struct tanh {
    static constexpr bool reads_z = false;
    template <typename T>
    static __device__ __forceinline__ T value(T z, T alpha) {
        return ::tanh(z);
    }
    /// 1 - y * y, factored: near y = 1 the square would lose half the digits.
    template <typename T>
    static __device__ __forceinline__ T derivative(T z, T y, T alpha) {
        return (1 - y) * (1 + y);
    }
};

struct relu {
    static constexpr bool reads_z = false;
    template <typename T>
    static __device__ __forceinline__ T value(T z, T alpha) {
        return z <= 0 ? T(0) : z;
    }
    template <typename T>
    static __device__ __forceinline__ T derivative(T z, T y, T alpha) {
        return y <= 0 ? T(0) : y > 0 ? T(1) : y;
    }
};

struct leaky_relu {
    static constexpr bool reads_z = false;
    template <typename T>
    static __device__ __forceinline__ T value(T z, T alpha) {
        return z <= 0 ? alpha * z : z;
    }
    template <typename T>
    static __device__ __forceinline__ T derivative(T z, T y, T alpha) {
        return y <= 0 ? alpha : y > 0 ? T(1) : y;
    }
};

/// Clevert, Unterthiner and Hochreiter (2016), equation 15.
struct elu {
    static constexpr bool reads_z = false;
    template <typename T>
    static __device__ __forceinline__ T value(T z, T alpha) {
        return z <= 0 ? alpha * expm1(z) : z;
    }
    template <typename T>
    static __device__ __forceinline__ T derivative(T z, T y, T alpha) {
        return y <= 0 ? y + alpha : y > 0 ? T(1) : y;
    }
};

/// z * Phi(z), exact (Hendrycks and Gimpel, 2016), and Phi(z) + z * phi(z).
struct gelu {
    static constexpr bool reads_z = true;
    // Below -40 the Gaussian tail is zero in both dtypes; clamping there keeps -inf from becoming -inf * 0.
    static constexpr int zero = 40;
    template <typename T>
    static __device__ __forceinline__ T value(T z, T alpha) {
        z = z < -zero ? T(-zero) : z;
        return z * normal_cdf(z);
    }
    template <typename T>
    static __device__ __forceinline__ T derivative(T z, T y, T alpha) {
        z = clamp(z, T(-zero), T(zero));
        return normal_cdf(z) + z * (T(0.3989422804014327) * exp(T(-0.5) * z * z));
    }
};

/// z * sigmoid(z) (Hendrycks and Gimpel, 2016; also called swish).
struct silu {
    static constexpr bool reads_z = true;
    // exp(-800) is zero in both dtypes; clamping there keeps -inf from becoming -inf * 0.
    static constexpr int zero = 800;
    template <typename T>
    static __device__ __forceinline__ T value(T z, T alpha) {
        z = z < -zero ? T(-zero) : z;
        return z * logistic(z);
    }
    /// s * (1 + z * (1 - s)) with s = sigmoid(z), and 1 - s from the same exponential to keep its digits.
    template <typename T>
    static __device__ __forceinline__ T derivative(T z, T y, T alpha) {
        z = clamp(z, T(-zero), T(zero));
        const T e = exp(-fabs(z));
        const T large = 1 / (1 + e), small = e / (1 + e);
        const T s = z < 0 ? small : large, rest = z < 0 ? large : small;
        return s * (1 + z * rest);
    }
};

/// exp(z), which is its own slope.
struct exponential {
    static constexpr bool reads_z = false;
    template <typename T>
    static __device__ __forceinline__ T value(T z, T alpha) {
        return exp(z);
    }
    template <typename T>
    static __device__ __forceinline__ T derivative(T z, T y, T alpha) {
        return y;
    }
};

/// log(1 + exp(z)), written so that the exponential cannot overflow; its slope is sigmoid(z) = 1 - exp(-y).
struct softplus {
    static constexpr bool reads_z = false;
    template <typename T>
    static __device__ __forceinline__ T value(T z, T alpha) {
        return (z <= 0 ? T(0) : z) + log1p(exp(-fabs(z)));
    }
    template <typename T>
    static __device__ __forceinline__ T derivative(T z, T y, T alpha) {
        return -expm1(-y);
    }
};

}  // namespace activation
}  // namespace tinynet
