// Networks of middling size: a kernel for each product, with all that surrounds it before and after, in a CUDA graph of
// many updates. cuBLAS cannot be captured by CuPy, and at such sizes it is the launches that take the time.
//
// The rows of a batch, and what lies between the layers, are in global memory. Whatever differs from update to update is
// read there, at the number of the update, which `graph_finish` moves on; after the last update nothing is done.
#include "fused/network.cuh"
#include "fused/update.cuh"
#include "reduce.cuh"

namespace tinynet {

/// What the kernels of an update share.
struct Training {
    Real *parameters, *moments;
    const Real *held, *x;
    const Target* t;
    const Real* weight;
    const Index* order;
    const double* numbers;
    const unsigned long long* counters;
    const Real* rates;
    double* losses;
    Real *memory, *batch_x, *batch_weight;
    Target* batch_t;
    double* part_losses;
    Index* number;  // of the update, and where to end
    Index n_visits, batch;  // samples of an epoch, and of an update
    int ordered;  // else rows are taken as they lie, and `order` is not read
    Sizes sizes;

    /// Whether all updates are done. A graph has some number of them, and the last ones may be too many.
    __device__ __forceinline__ bool ended() const { return number[0] >= number[1]; }
};

// All kernels have the same parameters. They are not one struct: CuPy passes arrays one by one. Sizes are one, which is
// in constant memory like all parameters, so that a size costs no more than a constant does.
#define TRAINING_PARAMETERS                                                                                          \
    Real *parameters, Real *moments, const Real *held, const Real *x, const Target *t, const Real *weight,           \
        const Index *order, const double *numbers, const unsigned long long *counters, const Real *rates,            \
        double *losses, Real *memory, Real *batch_x, Real *batch_weight, Target *batch_t, double *part_losses,       \
        Index *number, Index n_visits, Index batch_size, int ordered, Sizes sizes
#define TRAINING                                                                                                     \
    Training {                                                                                                       \
        parameters, moments, held, x, t, weight, order, numbers, counters, rates, losses, memory, batch_x,           \
            batch_weight, batch_t, part_losses, number, n_visits, batch_size, ordered, sizes                         \
    }

/// Which samples an update takes.
struct Batch {
    Index epoch, start;
    int rows;

    __device__ __forceinline__ explicit Batch(const Training& training) {
        const Index size = training.batch, n_updates = (training.n_visits + size - 1) / size;
        epoch = training.number[0] / n_updates;
        start = training.number[0] % n_updates * size;
        rows = int(min(size, training.n_visits - start));
    }
};

/// A batch on its way through the network; `dropouts` has net::n_dropouts + 1 places.
__device__ __forceinline__ Pass pass_of(const Training& training, const Batch& batch, Dropout* dropouts) {
#pragma unroll
    for (int k = 0; k < net::n_dropouts; ++k) {
        const double rate = training.numbers[net::first_rate + k];
        dropouts[k] = {Word(rate * 4294967296.0), Real(1 / (1 - rate))};
    }
    Pass pass{};
    pass.sizes = training.sizes;
    pass.memory = training.memory;
    pass.held = training.held;
    pass.x = training.batch_x;
    pass.t = training.batch_t;
    pass.weight = training.batch_weight;
    pass.dropouts = dropouts;
    pass.factor = Factors::of(training.sizes.scale, batch.rows);
    pass.parameter = Real(training.numbers[net::parameter]);
    pass.seed = training.counters[2];
    pass.draw = training.counters[1] + training.number[0];
    return pass;
}

/// Leave a block's part of the loss for `graph_finish`.
__device__ __forceinline__ void leave_loss(const Training& training, double loss) {
    loss = block_sum(loss);
    if (threadIdx.x == 0) {
        training.part_losses[Index(blockIdx.y) * gridDim.x + blockIdx.x] = loss;
    }
}

/// Whether a number that enters stage i comes to its loss by itself.
template <int i>
constexpr bool comes_to_loss() {
    constexpr int end = end_of_chain<i>();
    return end + 1 == net::n_stages && !Stage<end>::softmax && net::elementwise_loss;
}

/// Copy the rows of the batch to where they lie together.
__global__ void __launch_bounds__(net::threads) graph_gather(TRAINING_PARAMETERS) {
    const Training training = TRAINING;
    if (training.ended()) {
        return;
    }
    const Batch batch(training);
    const Index* const rows = training.ordered ? training.order + batch.epoch * training.n_visits : nullptr;
    Pass pass{};
    pass.sizes = training.sizes;
    const unsigned int n_in = sizes_of<0>(pass).n_in, n_targets = n_targets_of(pass), columns = n_in + n_targets + 1;
    const unsigned int n_items = batch.rows * columns;
    for (Index item = first_x(); item < n_items; item += step_x()) {
        const unsigned int r = (unsigned int)(item) / columns, c = (unsigned int)(item) % columns;
        const Index row = rows ? rows[batch.start + r] : batch.start + r;
        if (c < n_in) {
            training.batch_x[r * n_in + c] = training.x[row * n_in + c];
        } else if (c < n_in + n_targets) {
            const unsigned int k = c - n_in;
            training.batch_t[r * n_targets + k] = training.t[row * n_targets + k];
        } else if constexpr (net::weighted) {
            training.batch_weight[r] = training.weight[row];
        }
    }
}

constexpr int tile = 32, slab = 64, quads = 4;  // outputs of a block in each direction; terms at a time
constexpr int groups = net::threads / (tile * tile / (quads * quads));
constexpr int pitch = tile + 4;
static_assert(groups * tile <= 2 * slab, "the sums of the groups take the place of the slabs");

/// Blocks that a multiprocessor has room for at a time, which bounds the registers of a thread. Without a next slab to
/// hold, more of them come at no price; the compiler must be told, or it spills for the sake of one more still (sm_90).
/// With 0 it decides.
template <bool one_slab>
constexpr int blocks = one_slab ? 16 / int(sizeof(Real)) : 0;

/// How a factor is dealt out to threads that load it: whether neighbours in memory belong to terms or to outputs.
enum class Along { terms, outputs };

/// sum_k a(m, k) * b(k, n) for a block's tile of the outputs (m, n), `rows` by `columns` in all; `take` gets them.
///
/// Slabs of the factors pass through shared memory, the next one being loaded meanwhile. Each group of 64 threads adds up
/// its share of the terms of a slab, 4 by 4 outputs a thread; the groups' sums are added in order at the end. Where all
/// terms are one slab, no registers are kept for the next one.
template <Along a_along, Along b_along, bool one_slab, class A, class B, class Take>
__device__ __forceinline__ void tiled_product(int rows, int columns, int inner, A a, B b, Take take) {
    alignas(16) __shared__ Real factors[2][slab][pitch];
    constexpr int loads = slab * tile / net::threads, share = slab / groups;
    const int m0 = int(blockIdx.y) * tile, n0 = int(blockIdx.x) * tile;
    const int group = threadIdx.x / 64, row = threadIdx.x % 64 / 8 * quads, column = threadIdx.x % 8 * quads;
    Real next[2][loads];

    const auto place = [](Along along, int s) {
        const int item = threadIdx.x + s * net::threads;
        return along == Along::terms ? int2{item % slab, item / slab} : int2{item / tile, item % tile};
    };
    const auto load = [&](int k0) {
#pragma unroll
        for (int s = 0; s < loads; ++s) {
            const int2 of_a = place(a_along, s), of_b = place(b_along, s);
            next[0][s] = k0 + of_a.x < inner && m0 + of_a.y < rows ? a(m0 + of_a.y, k0 + of_a.x) : Real(0);
            next[1][s] = k0 + of_b.x < inner && n0 + of_b.y < columns ? b(k0 + of_b.x, n0 + of_b.y) : Real(0);
        }
    };
    const auto store = [&]() {
#pragma unroll
        for (int s = 0; s < loads; ++s) {
            const int2 of_a = place(a_along, s), of_b = place(b_along, s);
            factors[0][of_a.x][of_a.y] = next[0][s];
            factors[1][of_b.x][of_b.y] = next[1][s];
        }
    };

    Real sum[quads][quads] = {};
    load(0);
    for (int k0 = 0; k0 == 0 || (!one_slab && k0 < inner); k0 += slab) {
        store();
        __syncthreads();
        if (!one_slab && k0 + slab < inner) {
            load(k0 + slab);
        }
#pragma unroll 8
        for (int k = group * share; k < (group + 1) * share; ++k) {
            Real left[quads], right[quads];
#pragma unroll
            for (int q = 0; q < quads; ++q) {
                left[q] = factors[0][k][row + q];
                right[q] = factors[1][k][column + q];
            }
#pragma unroll
            for (int p = 0; p < quads; ++p) {
#pragma unroll
                for (int q = 0; q < quads; ++q) {
                    sum[p][q] += left[p] * right[q];
                }
            }
        }
        __syncthreads();
    }
    Real* const sums = &factors[0][0][0];
#pragma unroll
    for (int p = 0; p < quads; ++p) {
#pragma unroll
        for (int q = 0; q < quads; ++q) {
            sums[(group * tile + row + p) * pitch + column + q] = sum[p][q];
        }
    }
    __syncthreads();
    for (int item = threadIdx.x; item < tile * tile; item += net::threads) {
        const int r = item / tile, c = item % tile;
        Real total = sums[r * pitch + c];
        for (int other = 1; other < groups; ++other) {
            total += sums[(other * tile + r) * pitch + c];
        }
        if (m0 + r < rows && n0 + c < columns) {
            take(m0 + r, n0 + c, total);
        }
    }
}

/// Inputs of linear stage i in row r.
template <int i>
__device__ __forceinline__ Real input_of(const Pass& pass, int r, int k) {
    if constexpr (i == 0) {
        return pass.x[r * sizes_of<0>(pass).n_in + k];
    } else {
        return y_of<i - 1>(pass, r, k);
    }
}

/// Through linear stage i, and on as far as a number comes by itself. Grid: tiles of outputs, tiles of rows.
template <int i, bool one_slab>
__global__ void __launch_bounds__(net::threads, blocks<one_slab>) graph_up(TRAINING_PARAMETERS) {
    using S = Stage<i>;
    const Training training = TRAINING;
    if (training.ended()) {
        return;
    }
    const Batch batch(training);
    Dropout dropouts[net::n_dropouts + 1];
    Pass pass = pass_of(training, batch, dropouts);
    const int n_in = sizes_of<i>(pass).n_in, n_out = sizes_of<i>(pass).n_out;
    const Real* const w = training.parameters + sizes_of<i>(pass).weight_at;
    const Real* const b = w + n_in * n_out;
    tiled_product<Along::terms, Along::outputs, one_slab>(
        batch.rows, n_out, n_in, [&](int r, int k) { return input_of<i>(pass, r, k); },
        [&](int k, int j) { return w[k * n_out + j]; },
        [&](int r, int j, Real z) { emit<Mode::train, i>(pass, r, j, S::bias ? z + b[j] : z); });
    if constexpr (comes_to_loss<i>()) {
        leave_loss(training, pass.total);
    }
}

/// From the samples on, where the first stage is not a linear one.
template <int i>
__global__ void __launch_bounds__(net::threads) graph_enter(TRAINING_PARAMETERS) {
    const Training training = TRAINING;
    if (training.ended()) {
        return;
    }
    const Batch batch(training);
    Dropout dropouts[net::n_dropouts + 1];
    Pass pass = pass_of(training, batch, dropouts);
    const unsigned int n_in = sizes_of<0>(pass).n_in, n_items = batch.rows * n_in;
    for (Index item = first_x(); item < n_items; item += step_x()) {
        const unsigned int place = (unsigned int)(item);
        emit<Mode::train, i>(pass, int(place / n_in), int(place % n_in), pass.x[place]);
    }
    if constexpr (comes_to_loss<i>()) {
        leave_loss(training, pass.total);
    }
}

/// Call `take` with each row of the batch and the lanes of a warp that share it.
template <class Take>
__device__ __forceinline__ void each_row(int rows, Take take) {
    const RowsOfLanes mine(32);
    for (Index base = mine.first; base < rows; base += mine.step) {
        const int r = int(base) + mine.offset;
        take(r < rows ? r : 0, r < rows, Lanes{32});
    }
}

template <int i>
__global__ void __launch_bounds__(net::threads) graph_softmax_up(TRAINING_PARAMETERS) {
    const Training training = TRAINING;
    if (training.ended()) {
        return;
    }
    const Batch batch(training);
    Dropout dropouts[net::n_dropouts + 1];
    Pass pass = pass_of(training, batch, dropouts);
    each_row(batch.rows, [&](int r, bool taken, Lanes lanes) {
        softmax_forward<Mode::train, i>(pass, r, taken, lanes);
    });
    if constexpr (i + 1 == net::n_stages) {
        if constexpr (net::elementwise_loss) {
            leave_loss(training, pass.total);
        }
    } else if constexpr (Stage<i + 1>::op != Op::linear) {
        if constexpr (comes_to_loss<i + 1>()) {
            leave_loss(training, pass.total);
        }
    }
}

template <int i>
__global__ void __launch_bounds__(net::threads) graph_row_loss(TRAINING_PARAMETERS) {
    const Training training = TRAINING;
    if (training.ended()) {
        return;
    }
    const Batch batch(training);
    Dropout dropouts[net::n_dropouts + 1];
    Pass pass = pass_of(training, batch, dropouts);
    if constexpr (i >= 0 && !net::elementwise_loss) {
        each_row(batch.rows, [&](int r, bool taken, Lanes lanes) { row_loss<Mode::train>(pass, r, taken, lanes); });
    }
    leave_loss(training, pass.total);
}

template <int i>
__global__ void __launch_bounds__(net::threads) graph_softmax_down(TRAINING_PARAMETERS) {
    const Training training = TRAINING;
    if (training.ended()) {
        return;
    }
    const Batch batch(training);
    Dropout dropouts[net::n_dropouts + 1];
    Pass pass = pass_of(training, batch, dropouts);
    each_row(batch.rows, [&](int r, bool taken, Lanes lanes) { softmax_backward<i>(pass, r, taken, lanes); });
}

/// Back through linear stage i. Grid: tiles of inputs, tiles of rows.
template <int i, bool one_slab>
__global__ void __launch_bounds__(net::threads, blocks<one_slab>) graph_down(TRAINING_PARAMETERS) {
    const Training training = TRAINING;
    if (training.ended()) {
        return;
    }
    const Batch batch(training);
    Dropout dropouts[net::n_dropouts + 1];
    Pass pass = pass_of(training, batch, dropouts);
    const int n_in = sizes_of<i>(pass).n_in, n_out = sizes_of<i>(pass).n_out;
    const Real* const w = training.parameters + sizes_of<i>(pass).weight_at;
    tiled_product<Along::terms, Along::terms, one_slab>(
        batch.rows, n_in, n_out, [&](int r, int k) { return d_of<i>(pass, r, k); },
        [&](int k, int j) { return w[j * n_out + k]; },
        [&](int r, int j, Real dy) { deliver<i - 1>(pass, r, j, dy); });
}

/// Update the parameters of linear stage i; the bias counts as the weight of one more input, which is 1. Grid: tiles of
/// outputs, tiles of inputs.
template <int i>
__global__ void __launch_bounds__(net::threads) graph_change(TRAINING_PARAMETERS) {
    const Training training = TRAINING;
    if (training.ended()) {
        return;
    }
    const Batch batch(training);
    Pass pass{};
    pass.sizes = training.sizes;
    pass.memory = training.memory;
    pass.x = training.batch_x;
    Update update(training.numbers);
    const Real* const now = training.rates + 3 * training.number[0];
    update.rates = {now[0], now[1], now[2]};
    const int n_in = sizes_of<i>(pass).n_in, n_out = sizes_of<i>(pass).n_out, weight_at = sizes_of<i>(pass).weight_at;
    tiled_product<Along::outputs, Along::outputs, false>(
        n_in + Stage<i>::bias, n_out, batch.rows,
        [&](int k, int r) { return k < n_in ? input_of<i>(pass, r, k) : Real(1); },
        [&](int r, int j) { return d_of<i>(pass, r, j); },
        [&](int k, int j, Real gradient) {
            const int place = weight_at + k * n_out + j;
            update(
                training.parameters[place], update.within_limit(gradient), training.moments + place,
                training.sizes.n_parameters);
        });
}

/// Add the loss to that of its epoch, and go on to the next update; one block.
__global__ void __launch_bounds__(net::threads) graph_finish(TRAINING_PARAMETERS, int n_parts) {
    const Training training = TRAINING;
    if (training.ended()) {
        return;
    }
    const Batch batch(training);
    double loss = 0;
    for (int part = threadIdx.x; part < n_parts; part += net::threads) {
        loss += training.part_losses[part];
    }
    loss = block_sum(loss);
    if (threadIdx.x == 0) {
        training.losses[batch.epoch] += loss;
        training.number[0] += 1;
    }
}

}  // namespace tinynet
