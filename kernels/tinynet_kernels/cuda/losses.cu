// Kernels of the losses: the gradient, and the value in two stages. Each block sums what it took in float64 and writes
// factor * sum to its place in `sums`; where there are several blocks, `total` adds these up. A Kind is a struct of
// losses.cuh. `weight` holds a factor for each row where `weighted`, and is not read otherwise. From one model's targets
// and weights to the next it is t_step and weight_step, which are 0 where all share one.
#include "losses.cuh"
#include "reduce.cuh"

namespace tinynet {

/// Losses of which each prediction has its own. d may be p. The parameter is that of all models, or one of `parameters`.
/// Its registers are bounded so that four blocks fit on a multiprocessor.
template <typename T, typename Kind, bool weighted>
__global__ void __launch_bounds__(256, sizeof(T) == 8 ? 3 : 4) elementwise_loss(
    const T* p, const T* t, const T* weight, T* d, Index rows, Index columns, Index t_step, Index weight_step, T scale,
    T parameter, bool own_parameter, const double* parameters, double factor, double* sums) {
    const Index model = model_of_block();
    p += model * rows * columns;
    d += model * rows * columns;
    t += model * t_step;
    weight += model * weight_step;
    parameter = own_parameter ? T(parameters[model]) : parameter;
    double sum = 0;
    for (Index i = first_y(); i < rows; i += step_y()) {
        const T row_weight = weighted ? weight[i] : T(1);
        double row_sum = 0;
        for (Index j = first_x(); j < columns; j += step_x()) {
            const ValueAndSlope<T> loss = Kind::at(p[i * columns + j], t[i * columns + j], parameter);
            row_sum += loss.value;
            d[i * columns + j] = scale * row_weight * loss.slope;
        }
        sum += row_sum * row_weight;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        sums[(model * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x] = factor * sum;
    }
}

/// Losses of a whole row: a group of `lanes` threads for each. Of targets there are `t_columns` to a row. d may be p.
template <typename T, typename Kind, bool weighted>
__global__ void row_loss(
    const T* p, const typename Kind::template Target<T>* t, const T* weight, T* d, Index rows, Index columns,
    Index t_columns, Index t_step, Index weight_step, int lanes, T scale, double factor, double* sums) {
    const RowsOfLanes group(lanes);
    const Index model = model_of_block();
    p += model * rows * columns;
    d += model * rows * columns;
    t += model * t_step;
    weight += model * weight_step;
    double sum = 0;
    for (Index base = group.first; base < rows; base += group.step) {
        const Index row = base + group.offset;
        const bool taken = row < rows;
        const T row_weight = weighted && taken ? weight[row] : T(1);
        const T value = Kind::row(
            p + row * columns, t + row * t_columns, d + row * columns, taken ? columns : 0, scale * row_weight,
            Lanes{lanes});
        if (taken && Lanes{lanes}.rank() == 0) {
            sum += double(value) * row_weight;
        }
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        sums[model * gridDim.x + blockIdx.x] = factor * sum;
    }
}

}  // namespace tinynet
