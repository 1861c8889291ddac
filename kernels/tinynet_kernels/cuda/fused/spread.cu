// One small network and large batches: blocks share the rows of a batch, and the next kernel adds up what they found.
//
// An update is two launches, which a CUDA graph repeats: `gradients`, and `change`. All that differs from update to
// update is read from device memory, at a number that `advance` moves on. Sums are made in an order that the sizes fix.
#include "fused/fetch.cuh"
#include "fused/tile.cuh"
#include "fused/update.cuh"

namespace tinynet {

/// Which samples an update takes.
struct Batch {
    Index epoch, start, end;

    __device__ __forceinline__ Batch(Index number, Index n_visits, Index size) {
        const Index n_updates = (n_visits + size - 1) / size;
        epoch = number / n_updates;
        start = number % n_updates * size;
        end = min(start + size, n_visits);
    }
};

/// The gradient and the loss of the tiles of rows blockIdx.x, blockIdx.x + gridDim.x, ... of a batch.
///
/// order : (n_epochs, n_visits) if `ordered`; else rows are taken as they lie
/// parts : (n_blocks, n_parameters); losses : (n_blocks,); numbers, counters : as in persistent.cu, of one model
/// base[0] + offset : the update; base[1]: where to end, for a graph may have some updates too many
__global__ void __launch_bounds__(net::threads, net::blocks) spread_gradients(
    const Real* parameters, const Real* held, const Real* x, const Target* t, const Real* weight, const Index* order,
    int ordered, const double* numbers, const unsigned long long* counters, Real* parts, double* losses,
    const Index* base, Index offset, Index n_visits, Index size) {
    const Index number = base[0] + offset;
    if (number >= base[1]) {
        return;
    }
    const Batch batch(number, n_visits, size);
    Real* const p = shared(net::at_parameters);
    Real* const g = shared(net::at_gradients);
    parameters_from<0>([&](int flat, int place) {
        p[place] = parameters[flat];
        g[place] = 0;
    });
    for (int k = threadIdx.x; k < net::n_held; k += net::threads) {
        shared(net::at_held)[k] = held[k];
    }
    Dropout dropouts[net::n_dropouts + 1];
#pragma unroll
    for (int k = 0; k < net::n_dropouts; ++k) {
        const double rate = numbers[net::first_rate + k];
        dropouts[k] = {Word(rate * 4294967296.0), Real(1 / (1 - rate))};
    }
    const Factors factors(net::scale, n_visits, size);
    Pass pass{};
    pass.memory = shared(net::at_memory);
    pass.held = shared(net::at_held);
    pass.x = shared(net::at_x);
    pass.t = reinterpret_cast<const Target*>(shared(net::at_t));
    pass.weight = shared(net::at_weight);
    pass.dropouts = dropouts;
    pass.parameter = Real(numbers[net::parameter]);
    pass.factor = batch.end - batch.start == size ? factors.whole : factors.last;
    pass.seed = counters[2];
    pass.draw = counters[1] + number;
    for (Index start = batch.start + Index(blockIdx.x) * net::rows; start < batch.end;
         start += Index(gridDim.x) * net::rows) {
        const int rows = int(min(batch.end - start, Index(net::rows)));
        const Rows wanted{ordered ? order + batch.epoch * n_visits : nullptr, start, rows};
        Fetch<Real, net::rows, net::n_in, net::x_stride>::copy(wanted, x, shared(net::at_x));
        Fetch<Target, net::rows, net::n_targets, net::n_targets>::copy(
            wanted, t, reinterpret_cast<Target*>(shared(net::at_t)));
        if constexpr (net::weighted) {
            Fetch<Real, net::rows, 1, 1>::copy(wanted, weight, shared(net::at_weight));
        }
        pass.first_row = start - batch.start;
        __syncthreads();
        up_and_down(pass, p, rows);
        gradients_from<0>(pass, rows, [&](int, int place, Real gradient) { g[place] += gradient; });
        __syncthreads();
    }
    const double loss = block_sum(pass.total);
    if (threadIdx.x == 0) {
        losses[blockIdx.x] = loss;
    }
    parts += Index(blockIdx.x) * net::n_parameters;
    parameters_from<0>([&](int flat, int place) { parts[flat] = g[place]; });
}

__device__ __forceinline__ Rates rates_at(const Real* rates, Index number) {
    return {rates[3 * number], rates[3 * number + 1], rates[3 * number + 2]};
}

constexpr int columns = 32, groups = 8;

/// Add up the parts and update the parameters; where the norm is clipped, only write the gradient, for `change_by_norm`.
/// Block 0 adds the loss to that of its epoch. Blocks of `groups` warps, a column of the parts for each lane.
///
/// rates : (n_updates, 3), the Rates of all updates; moments : (n_moments, n_parameters); gradients : (n_parameters,)
__global__ void __launch_bounds__(columns * groups) spread_change(
    Real* parameters, Real* moments, const Real* parts, const double* losses, int n_parts, const Real* rates,
    const double* numbers, Real* gradients, double* epoch_losses, const Index* base, Index offset, Index n_visits,
    Index size) {
    __shared__ Real sums[groups][columns];
    const Index number = base[0] + offset;
    if (number >= base[1]) {
        return;
    }
    const int lane = threadIdx.x % columns, group = threadIdx.x / columns;
    const int k = int(blockIdx.x) * columns + lane;
    Real sum = 0;
    if (k < net::n_parameters) {
#pragma unroll 8
        for (int part = group; part < n_parts; part += groups) {
            sum += parts[Index(part) * net::n_parameters + k];
        }
    }
    sums[group][lane] = sum;
    __syncthreads();
    if (group == 0 && k < net::n_parameters) {
        for (int other = 1; other < groups; ++other) {
            sum += sums[other][lane];
        }
        Update update(numbers);
        update.rates = rates_at(rates, number);
        sum = update.within_limit(sum);
        if constexpr (net::clips_norm) {
            gradients[k] = sum;
        } else {
            update(parameters[k], sum, moments + k, net::n_parameters);
        }
    }
    if (blockIdx.x == 0) {
        double loss = 0;
        for (int part = threadIdx.x; part < n_parts; part += columns * groups) {
            loss += losses[part];
        }
        loss = block_sum(loss);
        if (threadIdx.x == 0) {
            epoch_losses[Batch(number, n_visits, size).epoch] += loss;
        }
    }
}

constexpr int norm_threads = 512;

/// Update the parameters by a gradient whose norm is clipped; one block.
__global__ void __launch_bounds__(norm_threads) spread_change_by_norm(
    Real* parameters, Real* moments, const Real* rates, const double* numbers, const Real* gradients,
    const Index* base, Index offset) {
    if (base[0] + offset >= base[1]) {
        return;
    }
    SquaredNorm sum;
    for (int k = threadIdx.x; k < net::n_parameters; k += norm_threads) {
        sum.add(gradients[k]);
    }
    block_sum(sum.squares);
    Update update(numbers);
    update.rates = rates_at(rates, base[0] + offset);
    update.shrink = net::clips_norm ? Real(shrinkage(sum.norm(), numbers[net::clip_norm])) : Real(1);
    for (int k = threadIdx.x; k < net::n_parameters; k += norm_threads) {
        update(parameters[k], gradients[k], moments + k, net::n_parameters);
    }
}

/// Go on by some updates.
__global__ void spread_advance(Index* base, Index count) { base[0] += count; }

}  // namespace tinynet
