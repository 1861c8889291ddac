// Whole epochs in one launch: a thread for each model, with everything that belongs to it in registers.
//
// All loops over layers unroll, so every array below is a set of registers. Samples that all models see together are
// staged in shared memory by the block; where each model has its own order, threads read them through the cache.
#include "fused/network.cuh"
#include "fused/update.cuh"

namespace tinynet {

/// A model: parameters, their gradients, and the optimizer's memory.
struct Model {
    Real p[net::n_parameters], g[net::n_parameters], m[net::n_moments * net::n_parameters + 1];
};

/// Number c of the input of linear stage i.
template <int i>
__device__ __forceinline__ Real input_of(const Pass& pass, int c) {
    if constexpr (i == 0) {
        return pass.x[c];
    } else {
        return y_of<i - 1>(pass, 0, c);
    }
}

template <Mode mode, int i>
__device__ __forceinline__ void up_from(Pass& pass, const Real* p);

template <Mode mode, int i>
__device__ __forceinline__ void up_after(Pass& pass, const Real* p) {
    if constexpr (Stage<i>::softmax) {
        softmax_forward<mode, i>(pass, 0, true, Lanes{1});
        if constexpr (i + 1 < net::n_stages) {
            if constexpr (Stage<i + 1>::op != Op::linear) {
                up_after<mode, end_of_chain<i + 1>()>(pass, p);
                return;
            }
        }
    }
    if constexpr (i + 1 < net::n_stages) {
        up_from<mode, i + 1>(pass, p);
    } else if constexpr (!net::Loss::elementwise) {
        row_loss<mode>(pass, 0, true, Lanes{1});
    }
}

/// From the input of stage i to the loss, and as far down as a gradient comes by itself.
template <Mode mode, int i>
__device__ __forceinline__ void up_from(Pass& pass, const Real* p) {
    using S = Stage<i>;
#pragma unroll
    for (int j = 0; j < S::n_out; ++j) {
        Real z;
        if constexpr (S::op == Op::linear) {
            z = S::bias ? p[S::bias_at + j] : Real(0);
#pragma unroll
            for (int k = 0; k < S::n_in; ++k) {
                z += input_of<i>(pass, k) * p[S::weight_at + k * S::n_out + j];
            }
        } else {
            z = pass.x[j];
        }
        emit<mode, i>(pass, 0, j, z);
    }
    up_after<mode, end_of_chain<i>()>(pass, p);
}

/// From the gradient that rests in stage i down to that of the lowest linear stage, adding up those of the parameters.
template <int i>
__device__ __forceinline__ void down_from(Pass& pass, Model& model) {
    using S = Stage<i>;
    if constexpr (S::softmax && i >= net::first_linear) {
        softmax_backward<i>(pass, 0, true, Lanes{1});
    }
    if constexpr (S::op == Op::linear) {
#pragma unroll
        for (int k = 0; k < S::n_in; ++k) {
            const Real x = input_of<i>(pass, k);
            Real dy = 0;
#pragma unroll
            for (int j = 0; j < S::n_out; ++j) {
                const Real d = d_of<i>(pass, 0, j);
                dy += d * model.p[S::weight_at + k * S::n_out + j];
                model.g[S::weight_at + k * S::n_out + j] += x * d;
            }
            if constexpr (i > net::first_linear) {
                deliver<i - 1>(pass, 0, k, dy);
            }
        }
        if constexpr (S::bias) {
#pragma unroll
            for (int j = 0; j < S::n_out; ++j) {
                model.g[S::bias_at + j] += d_of<i>(pass, 0, j);
            }
        }
    }
    if constexpr (i > net::first_linear) {
        down_from<rest_of_gradient<i - 1>()>(pass, model);
    }
}

/// Update the parameters from their gradients, and set these to zero.
__device__ __forceinline__ void change(Model& model, Update& update, double max_norm) {
    if constexpr (net::clips_norm) {
        SquaredNorm sum;
#pragma unroll
        for (int k = 0; k < net::n_parameters; ++k) {
            sum.add(update.within_limit(model.g[k]));
        }
        update.shrink = Real(shrinkage(sum.norm(), max_norm));
    }
#pragma unroll
    for (int k = 0; k < net::n_parameters; ++k) {
        update(model.p[k], update.within_limit(model.g[k]), model.m + k, net::n_parameters);
        model.g[k] = 0;
    }
}

/// Samples that the models of a block see together.
struct Staged {
    Real x[net::staged * net::n_in];
    Target t[net::staged * net::n_targets];
    Real weight[net::weighted ? net::staged : 1];
};

/// Bring samples first to first + count - 1 of an epoch to where all threads can read them.
__device__ __forceinline__ void stage(
    Staged& staged, const Real* x, const Target* t, const Real* weight, const Index* rows, Index first, int count) {
    for (int s = threadIdx.x; s < count; s += net::threads) {
        const Index row = rows ? rows[first + s] : first + s;
        for (int c = 0; c < net::n_in; ++c) {
            staged.x[s * net::n_in + c] = x[row * net::n_in + c];
        }
        for (int c = 0; c < net::n_targets; ++c) {
            staged.t[s * net::n_targets + c] = t[row * net::n_targets + c];
        }
        if constexpr (net::weighted) {
            staged.weight[s] = weight[row];
        }
    }
}

/// Train a model with each thread, for updates first_update to last_update; parameters as in persistent.cu.
///
/// Where `own_rows` is false the models share order and weights.
template <bool own_rows>
__global__ void __launch_bounds__(net::threads, net::blocks) registers(
    Real* parameters, Real* moments, const Real* held, const Real* x, const Target* t, const Real* weight,
    const Index* order, const double* rates, const double* numbers, const unsigned long long* counters, double* losses,
    const Index* members, Index n_models, Index n_members, Index n_samples, Index n_visits, Index batch, Index n_rates,
    int own_weight, int own_order, int own_rates, Index first_update, Index last_update) {
    __shared__ Staged staged;
    // Threads beyond the last model help to stage samples; they train the last one again and keep nothing of it.
    const Index thread = Index(blockIdx.x) * net::threads + threadIdx.x;
    const Index member = min(thread, n_members - 1), index = members[member];
    const Index n_updates = (n_visits + batch - 1) / batch;

    Model model;
#pragma unroll
    for (int k = 0; k < net::n_parameters; ++k) {
        model.p[k] = parameters[index * net::n_parameters + k];
        model.g[k] = 0;
#pragma unroll
        for (int row = 0; row < net::n_moments; ++row) {
            model.m[row * net::n_parameters + k] = moments[(row * n_models + index) * net::n_parameters + k];
        }
    }
    numbers += index * net::n_numbers;
    counters += index * 3;
    Dropout dropouts[net::n_dropouts + 1];
#pragma unroll
    for (int k = 0; k < net::n_dropouts; ++k) {
        const double rate = numbers[net::first_rate + k];
        dropouts[k] = {Word(rate * 4294967296.0), Real(1 / (1 - rate))};
    }
    const Factors factors(net::scale, n_visits, batch);
    Update update(numbers);
    Clock clock(numbers, Index(counters[0]) + first_update);
    Real memory[net::memory_size];
    Real input[net::n_in];
    Target target[net::n_targets];
    Real sample_weight[1];
    Pass pass{};
    pass.memory = memory;
    pass.held = held + index * net::n_held;
    pass.dropouts = dropouts;
    pass.parameter = Real(numbers[net::parameter]);
    pass.seed = counters[2];
    pass.draw = counters[1] + first_update;
    pass.x = input;
    pass.t = target;
    pass.weight = sample_weight;

    Index epoch = first_update / n_updates, of_epoch = first_update % n_updates, batch_start = of_epoch * batch;
    for (Index number = first_update; number < last_update; ++epoch, of_epoch = 0, batch_start = 0) {
        const Index* rows =
            own_order < 0 ? nullptr : order + (own_order ? epoch * n_members + member : epoch) * n_visits;
        // What is left of the epoch, or of the launch.
        const Index end = min(n_visits, batch_start + (last_update - number) * batch);
        for (Index first = batch_start; first < end; first += net::staged) {
            const int count = int(min(end - first, Index(net::staged)));
            if constexpr (!own_rows) {
                __syncthreads();
                stage(staged, x, t, weight, rows, first, count);
                __syncthreads();
            }
            for (int s = 0; s < count; ++s) {
                const Index visit = first + s;
                const Index batch_rows = min(batch, n_visits - batch_start);
                const Index row = !own_rows ? Index(s) : rows ? rows[visit] : visit;
                const Real* const sample = own_rows ? x : staged.x;
                const Target* const its_target = own_rows ? t : staged.t;
#pragma unroll
                for (int c = 0; c < net::n_in; ++c) {
                    input[c] = sample[row * net::n_in + c];
                }
#pragma unroll
                for (int c = 0; c < net::n_targets; ++c) {
                    target[c] = its_target[row * net::n_targets + c];
                }
                if constexpr (net::weighted) {
                    sample_weight[0] =
                        !own_rows ? staged.weight[row] : weight[own_weight ? index * n_samples + row : row];
                }
                pass.first_row = visit - batch_start;
                pass.factor = batch_rows == batch ? factors.whole : factors.last;
                up_from<Mode::train, 0>(pass, model.p);
                down_from<rest_of_gradient<net::n_stages - 1>()>(pass, model);
                if (visit + 1 == batch_start + batch_rows) {
                    const Index place = epoch * n_rates + min(of_epoch, n_rates - 1);
                    update.rates = clock.next(own_rates ? rates[place * n_members + member] : rates[place]);
                    change(model, update, net::clips_norm ? numbers[net::clip_norm] : 0.0);
                    batch_start += batch_rows;
                    ++number;
                    ++of_epoch;
                    ++pass.draw;
                }
            }
        }
        if (thread < n_members) {
            losses[epoch * n_members + member] += pass.total;
        }
        pass.total = 0;
    }

    if (thread < n_members) {
#pragma unroll
        for (int k = 0; k < net::n_parameters; ++k) {
            parameters[index * net::n_parameters + k] = model.p[k];
#pragma unroll
            for (int row = 0; row < net::n_moments; ++row) {
                moments[(row * n_models + index) * net::n_parameters + k] = model.m[row * net::n_parameters + k];
            }
        }
    }
}

}  // namespace tinynet
