// Kernels that add up: over the rows of a matrix, and over the sums of blocks.
#include "reduce.cuh"
#include "types.cuh"

namespace tinynet {

/// out[s, j] is the sum of x[i, j] over the rows i of slice s, one slice for each blockIdx.y. The block is a power of
/// two high, and has at most 256 threads. From one model's sums to the next it is out_step.
template <typename T>
__global__ void column_sums(const T* x, T* out, Index rows, Index columns, Index out_step) {
    __shared__ T sums[256];
    x += model_of_block() * rows * columns;
    out += model_of_block() * out_step;
    const unsigned int place = threadIdx.y * blockDim.x + threadIdx.x;
    for (Index base = Index(blockIdx.x) * blockDim.x; base < columns; base += step_x()) {
        const Index j = base + threadIdx.x;
        T sum = 0;
        if (j < columns) {
            for (Index i = first_y(); i < rows; i += step_y()) {
                sum += x[i * columns + j];
            }
        }
        sums[place] = sum;
        for (unsigned int half = blockDim.y / 2; half > 0; half /= 2) {
            __syncthreads();
            if (threadIdx.y < half) {
                sums[place] += sums[place + half * blockDim.x];
            }
        }
        if (threadIdx.y == 0 && j < columns) {
            out[blockIdx.y * columns + j] = sums[place];
        }
        __syncthreads();  // the next columns overwrite the sums
    }
}

/// out = factor * (sums[0] + ... + sums[n - 1]), by one block for each model.
__global__ void total(const double* sums, Index n, double factor, double* out) {
    double sum = 0;
    sums += model_of_block() * n;
    for (Index i = first_x(); i < n; i += step_x()) {
        sum += sums[i];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        out[model_of_block()] = factor * sum;
    }
}

}  // namespace tinynet
