// Kernels of the elementwise activations, with or without the bias of the layer before. A Kind is a struct of
// activations.cuh. A width above 1 moves that many neighbours at once: the columns, or n, and all
// addresses must be multiples of it.
#include "activations.cuh"
#include "types.cuh"

namespace tinynet {

/// z += b and y = f(z). y may be z, which is then not kept. From one model's bias to the next it is b_step.
template <typename T, typename Kind, int width>
__global__ void bias_activation(T* z, const T* b, T* y, Index rows, Index columns, T alpha, Index b_step) {
    const Index n = columns / width, model = model_of_block();
    z += model * rows * columns;
    y += model * rows * columns;
    b += model * b_step;
    for (Index j = first_x(); j < n; j += step_x()) {
        T bias[width];  // One by one: among others, a bias may lie anywhere.
#pragma unroll
        for (int lane = 0; lane < width; ++lane) {
            bias[lane] = b[j * width + lane];
        }
        for (Index i = first_y(); i < rows; i += step_y()) {
            Pack<T, width> sum = packs<width>(z)[i * n + j], result;
#pragma unroll
            for (int lane = 0; lane < width; ++lane) {
                sum.lane[lane] += bias[lane];
                result.lane[lane] = Kind::value(sum.lane[lane], alpha);
            }
            if (y != z) {
                packs<width>(z)[i * n + j] = sum;
            }
            packs<width>(y)[i * n + j] = result;
        }
    }
}

/// y = f(z), for n numbers. y may be z.
template <typename T, typename Kind, int width>
__global__ void activation_forward(const T* z, T* y, Index n, T alpha) {
    for (Index i = first_x(); i < n / width; i += step_x()) {
        Pack<T, width> pack = packs<width>(z)[i];
#pragma unroll
        for (int lane = 0; lane < width; ++lane) {
            pack.lane[lane] = Kind::value(pack.lane[lane], alpha);
        }
        packs<width>(y)[i] = pack;
    }
}

/// dz = dy * f'(z), for n numbers; `read` is z for the kinds that read it, y for the others. dz may be dy.
template <typename T, typename Kind, int width>
__global__ void activation_backward(const T* read, const T* dy, T* dz, Index n, T alpha) {
    for (Index i = first_x(); i < n / width; i += step_x()) {
        const Pack<T, width> point = packs<width>(read)[i];
        Pack<T, width> pack = packs<width>(dy)[i];
#pragma unroll
        for (int lane = 0; lane < width; ++lane) {
            pack.lane[lane] *= Kind::derivative(point.lane[lane], point.lane[lane], alpha);
        }
        packs<width>(dz)[i] = pack;
    }
}

/// dz += f''(z) * sum_d t_d * dt_d, for n numbers and their directions; `read` is as in activation_backward.
template <typename T, typename Kind>
__global__ void activation_curvature(const T* read, const T* t, const T* dt, T* dz, Index n, Index directions, T alpha) {
    for (Index i = first_x(); i < n; i += step_x()) {
        T sum = 0;
        for (Index d = 0; d < directions; ++d) {
            sum += t[d * n + i] * dt[d * n + i];
        }
        dz[i] += Kind::second(read[i], read[i], alpha) * sum;
    }
}

}  // namespace tinynet
