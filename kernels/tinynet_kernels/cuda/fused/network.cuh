// A network as a chain of stages: what becomes of a number on its way up, and of a gradient on its way down.
//
// A linear stage mixes the columns of a row; all that follows it, up to the next one, takes each number by itself. So
// `emit` carries a number through every stage up to the next linear one, and at the top through the loss and back down,
// without a barrier and without a pass of its own. `deliver` does the same for a gradient. Where a row has to be
// complete (softmax, and losses of a row), both stop; `softmax_forward`, `row_loss` and `softmax_backward` go on from
// there. Kernels differ in who owns which rows, and in where the numbers lie.
#pragma once

#include "activations.cuh"
#include "losses.cuh"
#include "philox.cuh"
#include "softmax.cuh"

namespace tinynet {

using net::Real;
using net::Target;

enum class Mode { train, evaluate, predict };

/// A dropout rate, ready for use.
struct Dropout {
    Word threshold;
    Real kept;
};

/// Factors of the gradient of the loss, in a whole batch and in the last one of an epoch, which may be smaller.
struct Factors {
    Real whole, last;

    __device__ __forceinline__ Factors(double scale, Index n_visits, Index batch)
        : whole(of(scale, batch)), last(of(scale, (n_visits - 1) % batch + 1)) {}

    static __device__ __forceinline__ Real of(double scale, Index rows) {
        return Real(net::mean ? scale / double(rows) : scale);
    }
};

/// Sizes of a network as an argument of a kernel; without any where they are constants.
template <bool given>
struct SizesOf {};
template <>
struct SizesOf<true> {
    double scale;  // of the loss, which may be a mean over outputs
    int n_parameters;
    StageSizes stages[net::n_stages];
};
using Sizes = SizesOf<net::sizes_given>;

/// A tile of a batch: its rows, and what all of them need.
struct Pass {
    Sizes sizes;
    Real* memory;         // outputs and gradients of every stage
    const Real* held;     // means and scales
    const Real* x;        // rows of the tile
    const Target* t;      // and their targets
    const Real* weight;   // and their weights, if any
    Real* out;            // where predictions go
    const Dropout* dropouts;
    Real factor;          // of the gradient of the loss
    Real parameter;       // of the loss
    unsigned long long seed, draw;  // of the dropout masks
    Index first_row;      // in the batch
    double total;         // of the loss, of what this thread took
};

/// Sizes of stage i: constants, or what the kernel was given.
template <int i, class AnyPass>
__device__ __forceinline__ StageSizes sizes_of(const AnyPass& pass) {
    using S = Stage<i>;
    if constexpr (net::sizes_given) {
        return pass.sizes.stages[i];
    } else {
        return {S::n_in, S::n_out, S::weight_at, S::held, S::y, S::z, S::d, S::stride};
    }
}

template <int i>
__device__ __forceinline__ Real& y_of(const Pass& pass, int r, int c) {
    const StageSizes sizes = sizes_of<i>(pass);
    return pass.memory[sizes.y + r * sizes.stride + c];
}
template <int i>
__device__ __forceinline__ Real& z_of(const Pass& pass, int r, int c) {
    const StageSizes sizes = sizes_of<i>(pass);
    return pass.memory[sizes.z + r * sizes.stride + c];
}
template <int i>
__device__ __forceinline__ Real& d_of(const Pass& pass, int r, int c) {
    const StageSizes sizes = sizes_of<i>(pass);
    return pass.memory[sizes.d + r * sizes.stride + c];
}

/// The last stage that a number reaches by itself when it enters stage i: before a softmax, a linear stage or the end.
template <int i>
constexpr int end_of_chain() {
    if constexpr (Stage<i>::softmax || i + 1 == net::n_stages) {
        return i;
    } else if constexpr (Stage<i + 1>::op == Op::linear) {
        return i;
    } else {
        return end_of_chain<i + 1>();
    }
}

/// The stage where a gradient that is delivered to stage i comes to rest: the next linear or softmax one, below.
template <int i>
constexpr int rest_of_gradient() {
    if constexpr (Stage<i>::op == Op::linear || Stage<i>::softmax) {
        return i;
    } else {
        return rest_of_gradient<i - 1>();
    }
}

/// Numbers of the output.
__device__ __forceinline__ int n_out_of(const Pass& pass) { return sizes_of<net::n_stages - 1>(pass).n_out; }

/// How many targets a sample has, and those of a row.
__device__ __forceinline__ int n_targets_of(const Pass& pass) { return net::labels ? 1 : n_out_of(pass) / net::outputs; }
__device__ __forceinline__ const Target* targets_of(const Pass& pass, int r) { return pass.t + r * n_targets_of(pass); }

__device__ __forceinline__ Real weight_of(const Pass& pass, int r) {
    if constexpr (net::weighted) {
        return pass.weight[r];
    } else {
        return 1;
    }
}

// -- the way down ------------------------------------------------------------------------------------------------------

template <int i>
__device__ __forceinline__ void deliver(Pass& pass, int r, int c, Real dy);

/// Go on with the gradient with respect to what stage i makes its output of: keep it for the products, or pass it on.
template <int i>
__device__ __forceinline__ void pass_down(Pass& pass, int r, int c, Real dz) {
    if constexpr (Stage<i>::op == Op::linear) {
        d_of<i>(pass, r, c) = dz;
    } else if constexpr (i > net::first_linear) {
        deliver<i - 1>(pass, r, c, dz);
    }
}

/// Take the gradient with respect to an output of stage i through the stage.
template <int i>
__device__ __forceinline__ void deliver(Pass& pass, int r, int c, Real dy) {
    using S = Stage<i>;
    if constexpr (S::softmax) {
        d_of<i>(pass, r, c) = dy;
    } else if constexpr (S::op == Op::dropout) {
        pass_down<i>(pass, r, c, dy * z_of<i>(pass, r, c));
    } else if constexpr (S::op == Op::normalize) {
        const StageSizes sizes = sizes_of<i>(pass);
        pass_down<i>(pass, r, c, dy / pass.held[sizes.held + sizes.n_out + c]);
    } else if constexpr (S::is_identity) {
        pass_down<i>(pass, r, c, dy);
    } else if constexpr (S::Activation::reads_z) {
        const Real z = z_of<i>(pass, r, c);
        pass_down<i>(pass, r, c, dy * S::Activation::template derivative<Real>(z, z, Real(S::alpha)));
    } else {
        const Real y = y_of<i>(pass, r, c);
        pass_down<i>(pass, r, c, dy * S::Activation::template derivative<Real>(y, y, Real(S::alpha)));
    }
}

// -- the way up --------------------------------------------------------------------------------------------------------

/// Take an output of the network: write it, or take its loss, and begin the way down.
template <Mode mode, class Loss = net::Loss>
__device__ __forceinline__ void finish(Pass& pass, int r, int c, Real y) {
    constexpr int last = net::n_stages - 1;
    if constexpr (mode == Mode::predict) {
        pass.out[(pass.first_row + r) * n_out_of(pass) + c] = y;
    } else if constexpr (Loss::elementwise) {
        const Real weight = weight_of(pass, r);
        const ValueAndSlope<Real> loss = Loss::template at<Real>(y, Real(targets_of(pass, r)[c]), pass.parameter);
        pass.total += double(loss.value) * weight;
        if constexpr (mode == Mode::train) {
            deliver<last>(pass, r, c, pass.factor * weight * loss.slope);
        }
    }
}

template <Mode mode, int i>
__device__ __forceinline__ void emit(Pass& pass, int r, int c, Real z);

/// Go on from an output of stage i.
template <Mode mode, int i>
__device__ __forceinline__ void go_on(Pass& pass, int r, int c, Real y) {
    if constexpr (i + 1 == net::n_stages) {
        finish<mode>(pass, r, c, y);
    } else if constexpr (Stage<i + 1>::op != Op::linear) {
        emit<mode, i + 1>(pass, r, c, y);
    }
}

/// A factor of a dropout mask: 0, or what keeps the mean as it was.
template <int i>
__device__ __forceinline__ Real mask_of(const Pass& pass, int r, int c) {
    using S = Stage<i>;
    const Index element = (pass.first_row + r) * sizes_of<i>(pass).n_out + c;
    const Words words = mask_words(pass.seed, pass.draw, S::place, Word(element / 4));
    const int which = int(element % 4);
    const Word word = which == 0 ? words.word[0] : which == 1 ? words.word[1] : which == 2 ? words.word[2] : words.word[3];
    return mask_element(word, pass.dropouts[S::dropout].threshold, pass.dropouts[S::dropout].kept);
}

/// Take a number into stage i; of a linear stage, it is the sum of its products.
template <Mode mode, int i>
__device__ __forceinline__ void emit(Pass& pass, int r, int c, Real z) {
    using S = Stage<i>;
    Real y = z;
    if constexpr (S::softmax) {
        y_of<i>(pass, r, c) = z;
        return;
    } else if constexpr (S::op == Op::normalize) {
        const StageSizes sizes = sizes_of<i>(pass);
        y = (z - pass.held[sizes.held + c]) / pass.held[sizes.held + sizes.n_out + c];
    } else if constexpr (S::op == Op::dropout) {
        if constexpr (mode == Mode::train) {
            const Real mask = mask_of<i>(pass, r, c);
            z_of<i>(pass, r, c) = mask;
            y = z * mask;
        }
    } else {
        y = S::Activation::template value<Real>(z, Real(S::alpha));
        if constexpr (mode == Mode::train && S::Activation::reads_z) {
            z_of<i>(pass, r, c) = z;
        }
    }
    if constexpr (S::keeps_y) {
        y_of<i>(pass, r, c) = y;
    }
    go_on<mode, i>(pass, r, c, y);
}

// -- rows that have to be complete -------------------------------------------------------------------------------------

/// Softmax of row r of stage i by some lanes, and on from there; without a row, `taken` is false.
template <Mode mode, int i>
__device__ __forceinline__ void softmax_forward(Pass& pass, int r, bool taken, Lanes lanes) {
    const int n = sizes_of<i>(pass).n_out;
    Real* y = &y_of<i>(pass, r, 0);
    softmax_row(y, y, Index(taken ? n : 0), lanes);
    if (taken) {
        for (int j = lanes.rank(); j < n; j += lanes.count) {
            go_on<mode, i>(pass, r, j, y[j]);
        }
    }
}

/// Back through the softmax of row r of stage i, and down from there.
template <int i>
__device__ __forceinline__ void softmax_backward(Pass& pass, int r, bool taken, Lanes lanes) {
    const int n = sizes_of<i>(pass).n_out;
    Real* d = &d_of<i>(pass, r, 0);
    softmax_backward_row(&y_of<i>(pass, r, 0), d, d, Index(taken ? n : 0), lanes);
    if (taken) {
        for (int j = lanes.rank(); j < n; j += lanes.count) {
            pass_down<i>(pass, r, j, d[j]);
        }
    }
}

/// The loss of row r, if it is one of whole rows, and the way down from it.
template <Mode mode, class Loss = net::Loss>
__device__ __forceinline__ void row_loss(Pass& pass, int r, bool taken, Lanes lanes) {
    constexpr int last = net::n_stages - 1;
    const int n = n_out_of(pass);
    const Real weight = taken ? weight_of(pass, r) : Real(0);
    Real* d = &d_of<last>(pass, r, 0);
    const Real value = Loss::row(
        &y_of<last>(pass, r, 0), targets_of(pass, r), d, Index(taken ? n : 0), pass.factor * weight, lanes);
    if (taken) {
        if (lanes.rank() == 0) {
            pass.total += double(value) * weight;
        }
        if constexpr (mode == Mode::train) {
            for (int j = lanes.rank(); j < n; j += lanes.count) {
                deliver<last>(pass, r, j, d[j]);
            }
        }
    }
}

}  // namespace tinynet
