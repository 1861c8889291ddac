// An update of the parameters, by the optimizer that the network is described with.
//
// A model's numbers are double: the optimizer's settings in the order of the kernels' arguments, then what else may differ
// from model to model. What no model uses is not compiled.
#pragma once

#include "optimizers.cuh"

namespace tinynet {

using net::Real;

constexpr bool is_adam = net::optimizer == Optimizer::adam || net::optimizer == Optimizer::adamw;

/// What changes from update to update.
struct Rates {
    Real rate, root, keep;
};

/// Counts updates, for the bias correction of Adam.
///
/// The powers of beta are products of their predecessors, but for every period-th, which is computed by itself: they are
/// the same bits whatever update a launch begins with.
struct Clock {
    static constexpr int period = 64;
    double beta1 = 0, beta2 = 0, decay = 0, power1 = 1, power2 = 1;
    Index step = 0;

    __device__ __forceinline__ Clock(const double* numbers, Index first) {
        if constexpr (is_adam) {
            beta1 = numbers[0];
            beta2 = numbers[1];
            decay = net::optimizer == Optimizer::adamw ? numbers[3] : 0.0;
            step = first - first % period;
            raise();
            while (step < first) {
                advance();
            }
        }
    }

    __device__ __forceinline__ Rates next(double rate) {
        if constexpr (is_adam) {
            advance();
            return {Real(rate / (1 - power1)), Real(1 / sqrt(1 - power2)), Real(1 - rate * decay)};
        } else {
            return {Real(rate), Real(1), Real(1)};
        }
    }

    __device__ __forceinline__ void advance() {
        ++step;
        power1 *= beta1;
        power2 *= beta2;
        if (step % period == 0) {
            raise();
        }
    }

    __device__ __forceinline__ void raise() {
        power1 = pow(beta1, double(step));
        power2 = pow(beta2, double(step));
    }
};

/// Changes one parameter by its gradient.
struct Update {
    Real settings[net::n_settings];
    Real fresh1, fresh2;  // 1 less the first two of them
    Real limit;           // of clipping by value
    Rates rates;
    Real shrink;          // by which the norm is clipped

    __device__ __forceinline__ explicit Update(const double* numbers) : limit(0), rates{0, 1, 1}, shrink(1) {
#pragma unroll
        for (int k = 0; k < net::n_settings; ++k) {
            settings[k] = Real(numbers[k]);
        }
        fresh1 = Real(1 - numbers[0]);
        fresh2 = Real(1 - numbers[1]);
        if constexpr (net::clips_value) {
            limit = Real(numbers[net::clip_value]);
        }
    }

    /// A gradient, clipped by value.
    __device__ __forceinline__ Real within_limit(Real g) const {
        if constexpr (net::clips_value) {
            return clipped(g, limit);
        } else {
            return g;
        }
    }

    /// The moments of p are m[0], m[step], ...
    __device__ __forceinline__ void operator()(Real& p, Real g, Real* m, Index step) const {
        if constexpr (net::clips_norm) {
            g *= shrink;
        }
        Real unused = 0;
        if constexpr (net::optimizer == Optimizer::sgd) {
            Real& velocity = net::uses_momentum ? *m : unused;
            const Real momentum = net::uses_momentum ? settings[0] : Real(0);
            sgd(p, g, velocity, rates.rate, momentum, net::nesterov, net::decays ? settings[2] : Real(0));
        } else if constexpr (net::optimizer == Optimizer::rmsprop) {
            Real& velocity = net::uses_momentum ? m[step] : unused;
            Real& average = net::centered ? m[(net::uses_momentum ? 2 : 1) * step] : unused;
            const Real decay = net::decays ? settings[2] : Real(0), momentum = net::uses_momentum ? settings[3] : Real(0);
            rmsprop(
                p, g, *m, velocity, average, rates.rate, settings[0], fresh1, settings[1], decay, momentum,
                net::centered);
        } else {
            const bool coupled = net::optimizer == Optimizer::adam && net::decays;
            adam(
                p, g, m[0], m[step], rates.rate, rates.root, fresh1, settings[1], fresh2, settings[2],
                coupled ? settings[3] : Real(0), rates.keep);
        }
    }
};

}  // namespace tinynet
