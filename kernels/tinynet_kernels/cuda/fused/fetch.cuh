// Rows on their way from the data set to a team's part of shared memory.
//
// A batch is a list of row numbers, so each of its numbers is two loads away, one after the other, several hundred
// cycles each. A team therefore asks for a tile's row numbers and then for its rows while it still works on the tile
// before, and puts them away when that one is done.
#pragma once

#include "fused/team.cuh"
#include "types.cuh"

namespace tinynet {

/// Where a tile's rows are named: `order` holds their numbers; null stands for 0, 1, 2, ...
struct Rows {
    const Index* order;
    Index start;
    int count;

    __device__ __forceinline__ Index operator[](int r) const { return order ? order[start + r] : start + r; }
};

/// One array's share of a tile: `columns` numbers of each row, dealt out to the threads of a team.
template <class T, int rows, int columns, int stride>
struct Fetch {
    static constexpr int items = rows * columns;
    static constexpr int slots = (items + Team::size - 1) / Team::size;
    Index row[slots];
    T value[slots];

    __device__ __forceinline__ void locate(Rows wanted) {
#pragma unroll
        for (int s = 0; s < slots; ++s) {
            const int r = (Team::rank() + s * Team::size) / columns;
            row[s] = r < wanted.count ? wanted[r] : -1;
        }
    }

    __device__ __forceinline__ void load(const T* source) {
#pragma unroll
        for (int s = 0; s < slots; ++s) {
            const int c = (Team::rank() + s * Team::size) % columns;
            value[s] = row[s] >= 0 ? source[row[s] * columns + c] : T(0);
        }
    }

    __device__ __forceinline__ void store(T* tile) const {
#pragma unroll
        for (int s = 0; s < slots; ++s) {
            const int r = (Team::rank() + s * Team::size) / columns, c = (Team::rank() + s * Team::size) % columns;
            if (row[s] >= 0) {
                tile[r * stride + c] = value[s];
            }
        }
    }

    /// All at once, for tiles with more numbers than a thread can hold.
    static __device__ __forceinline__ void copy(Rows wanted, const T* source, T* tile) {
        for (int item = Team::rank(); item < wanted.count * columns; item += Team::size) {
            const int r = item / columns, c = item % columns;
            tile[r * stride + c] = source[wanted[r] * columns + c];
        }
    }
};

}  // namespace tinynet
