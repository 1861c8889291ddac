// Losses: the value and, from the same terms, the gradient.
//
// A kind is a struct of the name that tinynet_kernels.kinds.LOSSES gives it. An elementwise loss has `at`: value and
// slope for one prediction and its target; these are written from the formulas (cuda_headers.py). The others have `row`: a sample's predictions p and targets t, n of them,
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

}  // namespace tinynet

#include "elementwise_losses.cuh"

namespace tinynet {
namespace loss {

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
        // Every p is read: p[c] alone would be read at a place that only the data tell, and a row that is in the registers
        // of a thread would have to be in memory.
        T p_c = 0;
        for (Index j = lanes.rank(); j < n; j += lanes.count) {
            const T p_j = p[j];
            p_c = j == c ? p_j : p_c;
        }
        const ValueAndSlope<T> loss = cross_entropy_probabilities::at<T>(lanes.sum(p_c), T(1), T(0));
        for (Index j = lanes.rank(); j < n; j += lanes.count) {
            d[j] = factor * (j == c ? loss.slope : T(0));
        }
        return n > 0 ? loss.value : T(0);
    }
};

}  // namespace loss
}  // namespace tinynet
