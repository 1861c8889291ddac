// Systems of equations whose matrices have been factorised, one for each block.
#include "types.cuh"

namespace tinynet {

/// Solve L L' x = b in place, for the lower triangle L of one matrix and one vector b of each block. A column at a time:
/// its unknown is known, and every thread takes it out of some of the equations that are left.
template <typename T>
__global__ void cholesky_solve(const T* factors, T* vectors, Index n) {
    const T* factor = factors + Index(blockIdx.x) * n * n;
    T* b = vectors + Index(blockIdx.x) * n;
    for (Index j = 0; j < n; ++j) {
        __syncthreads();
        const T x = b[j] / factor[j * n + j];
        __syncthreads();  // all have read b[j]
        if (threadIdx.x == 0) {
            b[j] = x;
        }
        for (Index i = j + 1 + threadIdx.x; i < n; i += blockDim.x) {
            b[i] -= factor[i * n + j] * x;
        }
    }
    for (Index j = n - 1; j >= 0; --j) {
        __syncthreads();
        const T x = b[j] / factor[j * n + j];
        __syncthreads();
        if (threadIdx.x == 0) {
            b[j] = x;
        }
        for (Index i = threadIdx.x; i < j; i += blockDim.x) {
            b[i] -= factor[j * n + i] * x;
        }
    }
}

}  // namespace tinynet
