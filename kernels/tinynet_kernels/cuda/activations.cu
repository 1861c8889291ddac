// Kernels of the elementwise activations, with or without the bias of the layer before. A Kind is a struct of
// activations.cuh. A width above 1 moves that many neighbours at once: columns and addresses must be multiples of it.
#include "activations.cuh"
#include "types.cuh"

namespace tinynet {

/// z += b and y = f(z), over rows of `columns` packs. y may be z, which is then not kept.
template <typename T, typename Kind, int width>
__global__ void bias_activation(
    Pack<T, width>* z, const Pack<T, width>* b, Pack<T, width>* y, Index rows, Index columns, T alpha) {
    for (Index j = first_x(); j < columns; j += step_x()) {
        const Pack<T, width> bias = b[j];
        for (Index i = first_y(); i < rows; i += step_y()) {
            Pack<T, width> sum = z[i * columns + j], result;
#pragma unroll
            for (int lane = 0; lane < width; ++lane) {
                sum.lane[lane] += bias.lane[lane];
                result.lane[lane] = Kind::value(sum.lane[lane], alpha);
            }
            if (y != z) {
                z[i * columns + j] = sum;
            }
            y[i * columns + j] = result;
        }
    }
}

/// y = f(z), over n packs. y may be z.
template <typename T, typename Kind, int width>
__global__ void activation_forward(const Pack<T, width>* z, Pack<T, width>* y, Index n, T alpha) {
    for (Index i = first_x(); i < n; i += step_x()) {
        Pack<T, width> pack = z[i];
#pragma unroll
        for (int lane = 0; lane < width; ++lane) {
            pack.lane[lane] = Kind::value(pack.lane[lane], alpha);
        }
        y[i] = pack;
    }
}

/// dz = dy * f'(z), over n packs; `read` is z for the kinds that read it, y for the others. dz may be dy.
template <typename T, typename Kind, int width>
__global__ void activation_backward(
    const Pack<T, width>* read, const Pack<T, width>* dy, Pack<T, width>* dz, Index n, T alpha) {
    for (Index i = first_x(); i < n; i += step_x()) {
        const Pack<T, width> point = read[i];
        Pack<T, width> pack = dy[i];
#pragma unroll
        for (int lane = 0; lane < width; ++lane) {
            pack.lane[lane] *= Kind::derivative(point.lane[lane], point.lane[lane], alpha);
        }
        dz[i] = pack;
    }
}

}  // namespace tinynet
