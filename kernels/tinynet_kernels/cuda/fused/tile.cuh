// A network in shared memory: a tile of rows goes up and down together, the threads of a team sharing the work.
//
// Every function is called by all threads of the team. Work is dealt out by sizes alone, and every sum is made by one
// thread in the order of its terms, so results are the same bits in every run. A thread takes a few rows (or inputs) of
// one column: it reads each weight once for all of them, and the rows, which its neighbours read as well, some numbers
// at a time.
#pragma once

#include "fused/network.cuh"
#include "fused/team.cuh"

namespace tinynet {

/// Numbers that are read together; rows begin at multiples of it.
constexpr int width = 16 / sizeof(Real);

using Quad = Pack<Real, width>;

extern __shared__ Quad shared_memory[];

/// A place in the team's part of shared memory.
__device__ __forceinline__ Real* shared(int place) {
    return reinterpret_cast<Real*>(shared_memory) + Team::place() * net::shared_size + place;
}

/// The most rows that a thread should take of a layer, so that there is work for every thread; as many for each.
constexpr int tile_for(int rows, int columns) {
    int tile = 8;
    while (tile > 1 && (tile > rows || (rows + tile - 1) / tile * columns < Team::size)) {
        tile /= 2;
    }
    const int tiles = (rows + tile - 1) / tile;
    return (rows + tiles - 1) / tiles;
}

/// sum_k a[r][k] * w[k * step_k + j * step_j], for each of `rows` rows and each column j; `take` gets it.
template <int inner, int columns, int stride, int step_k, int step_j, class Start, class Take>
__device__ __forceinline__ void products(const Real* a, const Real* w, int rows, Start start, Take take) {
    constexpr int tile = tile_for(net::rows, columns);
    constexpr int items = (net::rows + tile - 1) / tile * columns;
    for (int item = Team::rank(); item < items; item += Team::size) {
        const int j = item % columns, first = item / columns * tile;
        if (first >= rows) {
            break;
        }
        Real sum[tile];
#pragma unroll
        for (int q = 0; q < tile; ++q) {
            sum[q] = start(j);
        }
        const Real* row = a + first * stride;
        const Real* column = w + j * step_j;
        constexpr int whole = inner / width * width;
#pragma unroll (Team::packs)
        for (int k = 0; k < whole; k += width) {
            Quad terms[tile];
#pragma unroll
            for (int q = 0; q < tile; ++q) {
                terms[q] = packs<width>(row + q * stride + k)[0];
            }
#pragma unroll
            for (int lane = 0; lane < width; ++lane) {
                const Real factor = column[(k + lane) * step_k];
#pragma unroll
                for (int q = 0; q < tile; ++q) {
                    sum[q] += terms[q].lane[lane] * factor;
                }
            }
        }
#pragma unroll
        for (int k = whole; k < inner; ++k) {
            const Real factor = column[k * step_k];
#pragma unroll
            for (int q = 0; q < tile; ++q) {
                sum[q] += row[q * stride + k] * factor;
            }
        }
#pragma unroll
        for (int q = 0; q < tile; ++q) {
            if (first + q < rows) {
                take(first + q, j, sum[q]);
            }
        }
    }
}

/// Lanes for each row where rows are taken as a whole.
constexpr int lanes_for(int columns) {
    int lanes = 1;
    while (lanes < 32 && lanes < columns) {
        lanes *= 2;
    }
    return lanes;
}

/// Call `take` with each row and the lanes that share it. All threads of a warp make the same calls.
template <int columns, class Take>
__device__ __forceinline__ void each_row(int rows, Take take) {
    constexpr int lanes = lanes_for(columns);
    for (int base = 0; base < rows; base += Team::size / lanes) {
        const int r = base + Team::rank() / lanes;
        take(r < rows ? r : 0, r < rows, Lanes{lanes});
    }
}

/// The inputs of linear stage i, and the step between their rows.
template <int i>
__device__ __forceinline__ const Real* inputs_of(const Pass& pass) {
    if constexpr (i == 0) {
        return pass.x;
    } else {
        return pass.memory + Stage<i - 1>::y;
    }
}
template <int i>
constexpr int input_stride() {
    if constexpr (i == 0) {
        return net::x_stride;
    } else {
        return Stage<i - 1>::stride;
    }
}

template <Mode mode, int i>
__device__ __forceinline__ void up_from(Pass& pass, const Real* parameters, int rows);

/// Numbers have been taken as far as stage i: complete its rows, and go on.
template <Mode mode, int i>
__device__ __forceinline__ void up_after(Pass& pass, const Real* parameters, int rows) {
    Team::sync();
    if constexpr (Stage<i>::softmax) {
        each_row<Stage<i>::n_out>(rows, [&](int r, bool taken, Lanes lanes) {
            softmax_forward<mode, i>(pass, r, taken, lanes);
        });
        if constexpr (i + 1 < net::n_stages) {
            if constexpr (Stage<i + 1>::op != Op::linear) {
                up_after<mode, end_of_chain<i + 1>()>(pass, parameters, rows);
                return;
            }
        }
        Team::sync();
    }
    if constexpr (i + 1 < net::n_stages) {
        up_from<mode, i + 1>(pass, parameters, rows);
    } else if constexpr (mode != Mode::predict && !net::Loss::elementwise) {
        each_row<net::n_out>(rows, [&](int r, bool taken, Lanes lanes) { row_loss<mode>(pass, r, taken, lanes); });
        Team::sync();
    }
}

/// From the inputs of stage i to the loss, and as far down as a gradient comes by itself. Ends with a barrier.
template <Mode mode, int i>
__device__ __forceinline__ void up_from(Pass& pass, const Real* parameters, int rows) {
    using S = Stage<i>;
    if constexpr (S::op == Op::linear) {
        products<S::n_in, S::n_out, input_stride<i>(), S::ld, 1>(
            inputs_of<i>(pass), parameters + S::w, rows,
            [&](int j) { return S::bias ? parameters[S::b + j] : Real(0); },
            [&](int r, int j, Real z) { emit<mode, i>(pass, r, j, z); });
    } else {
        for (int item = Team::rank(); item < rows * S::n_in; item += Team::size) {
            const int r = item / S::n_in, c = item % S::n_in;
            emit<mode, i>(pass, r, c, pass.x[r * net::x_stride + c]);
        }
    }
    up_after<mode, end_of_chain<i>()>(pass, parameters, rows);
}

/// From the gradient that rests in stage i down to that of the lowest linear stage. Ends with a barrier.
template <int i>
__device__ __forceinline__ void down_from(Pass& pass, const Real* parameters, int rows) {
    using S = Stage<i>;
    if constexpr (S::softmax && i >= net::first_linear) {
        each_row<S::n_out>(rows, [&](int r, bool taken, Lanes lanes) { softmax_backward<i>(pass, r, taken, lanes); });
        Team::sync();
    }
    if constexpr (i > net::first_linear) {
        if constexpr (S::op == Op::linear) {
            products<S::n_out, S::n_in, S::stride, 1, S::ld>(
                pass.memory + S::d, parameters + S::w, rows, [](int) { return Real(0); },
                [&](int r, int j, Real dy) { deliver<i - 1>(pass, r, j, dy); });
            Team::sync();
        }
        down_from<rest_of_gradient<i - 1>()>(pass, parameters, rows);
    }
}

/// Forward and backward of a tile.
__device__ __forceinline__ void up_and_down(Pass& pass, const Real* parameters, int rows) {
    up_from<Mode::train, 0>(pass, parameters, rows);
    down_from<rest_of_gradient<net::n_stages - 1>()>(pass, parameters, rows);
}

/// Gradients of stage i and those after it, summed over a tile's rows; `take` gets (place in the flat vector, place in
/// the kernel's copy, gradient).
template <int i, class Take>
__device__ __forceinline__ void gradients_from(const Pass& pass, int rows, Take take) {
    using S = Stage<i>;
    if constexpr (S::op == Op::linear) {
        constexpr int n_in = S::n_in, n_out = S::n_out, stride = input_stride<i>();
        // Threads take `tile` inputs of one output, which lie together: never beyond a row's padding.
        constexpr int tile = n_in * n_out / width >= Team::size && n_in > 1 ? width : 1;
        constexpr int tiles = (n_in + tile - 1) / tile;
        const Real* const d = pass.memory + S::d;
        const Real* const x = inputs_of<i>(pass);
        for (int item = Team::rank(); item < (tiles + S::bias) * n_out; item += Team::size) {
            const int j = item % n_out, first = item / n_out * tile;
            Real sum[tile] = {};
            if (first < tiles * tile) {
#pragma unroll 4
                for (int r = 0; r < rows; ++r) {
                    const Real slope = d[r * S::stride + j];
                    const Pack<Real, tile> terms = packs<tile>(x + r * stride + first)[0];
#pragma unroll
                    for (int q = 0; q < tile; ++q) {
                        sum[q] += terms.lane[q] * slope;
                    }
                }
#pragma unroll
                for (int q = 0; q < tile; ++q) {
                    if (first + q < n_in) {
                        take(S::weight_at + (first + q) * n_out + j, S::w + (first + q) * S::ld + j, sum[q]);
                    }
                }
            } else {
#pragma unroll 4
                for (int r = 0; r < rows; ++r) {
                    sum[0] += d[r * S::stride + j];
                }
                take(S::bias_at + j, S::b + j, sum[0]);
            }
        }
    }
    if constexpr (i + 1 < net::n_stages) {
        gradients_from<i + 1>(pass, rows, take);
    }
}

/// Call `take` with the places of every parameter, in the flat vector and in the kernel's copy. Each thread gets its own.
template <int i, class Take>
__device__ __forceinline__ void parameters_from(Take take) {
    using S = Stage<i>;
    if constexpr (S::op == Op::linear) {
        for (int item = Team::rank(); item < (S::n_in + S::bias) * S::n_out; item += Team::size) {
            const int k = item / S::n_out, j = item % S::n_out;
            if (k < S::n_in) {
                take(S::weight_at + item, S::w + k * S::ld + j);
            } else {
                take(S::bias_at + j, S::b + j);
            }
        }
    }
    if constexpr (i + 1 < net::n_stages) {
        parameters_from<i + 1>(take);
    }
}

}  // namespace tinynet
