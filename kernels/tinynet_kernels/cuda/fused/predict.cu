// Predictions and losses of many models in one launch: a block for each tile of rows of each model.
#include "fused/tile.cuh"

namespace tinynet {

/// Bring a model and a tile of samples into shared memory; return how many rows it has, and set `not_finite` if one of
/// their numbers is not.
__device__ __forceinline__ int load(
    const Real* parameters, const Real* held, const Real* x, Index n_samples, Index first, Index model, int* not_finite) {
    const int rows = int(min(n_samples - first, Index(net::rows)));
    parameters += model * net::n_parameters;
    parameters_from<0>([&](int flat, int place) { shared(net::at_parameters)[place] = parameters[flat]; });
    for (int k = threadIdx.x; k < net::n_held; k += net::threads) {
        shared(net::at_held)[k] = held[model * net::n_held + k];
    }
    bool bad = false;
    for (int item = threadIdx.x; item < rows * net::n_in; item += net::threads) {
        const Real value = x[first * net::n_in + item];
        bad |= !isfinite(value);
        shared(net::at_x)[item / net::n_in * net::x_stride + item % net::n_in] = value;
    }
    if (__syncthreads_or(bad) && threadIdx.x == 0) {
        atomicExch(not_finite, 1);
    }
    return rows;
}

/// out : (n_models, n_samples, n_out); not_finite : (1,), 0 before; grid : (tiles, n_models)
__global__ void __launch_bounds__(net::threads, net::blocks) predict(
    const Real* parameters, const Real* held, const Real* x, Real* out, int* not_finite, Index n_samples) {
    const Index first = Index(blockIdx.x) * net::rows, model = blockIdx.y;
    const int rows = load(parameters, held, x, n_samples, first, model, not_finite);
    Pass pass{};
    pass.memory = shared(net::at_memory);
    pass.held = shared(net::at_held);
    pass.x = shared(net::at_x);
    pass.out = out + model * n_samples * net::n_out;
    pass.first_row = first;
    up_from<Mode::predict, 0>(pass, shared(net::at_parameters), rows);
}

/// members : (n_members,) numbers of the models that are wanted
/// weight : (n_samples,), or own_weight: (n_models, n_samples); numbers : as in persistent.cu
/// sums : (n_members, tiles), the losses of the rows of a tile; grid : (tiles, n_members)
__global__ void __launch_bounds__(net::threads, net::blocks) evaluate(
    const Real* parameters, const Real* held, const Real* x, const Target* t, const Real* weight, int own_weight,
    const double* numbers, const Index* members, double* sums, int* not_finite, Index n_samples) {
    const Index first = Index(blockIdx.x) * net::rows, model = members[blockIdx.y];
    const int rows = load(parameters, held, x, n_samples, first, model, not_finite);
    Pass pass{};
    pass.memory = shared(net::at_memory);
    pass.held = shared(net::at_held);
    pass.x = shared(net::at_x);
    pass.t = t + first * net::n_targets;
    pass.weight = own_weight ? weight + model * n_samples + first : weight + first;
    pass.parameter = Real(numbers[model * net::n_numbers + net::parameter]);
    up_from<Mode::evaluate, 0>(pass, shared(net::at_parameters), rows);
    const double total = block_sum(pass.total);
    if (threadIdx.x == 0) {
        sums[Index(blockIdx.y) * gridDim.x + blockIdx.x] = total;
    }
}

}  // namespace tinynet
