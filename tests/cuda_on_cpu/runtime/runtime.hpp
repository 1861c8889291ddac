// The seam between kernels and the scheduler that runs them (scheduler.cpp).
//
// Everything here is hidden: each loaded library has its own scheduler and its own threadIdx.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct uint3 { unsigned x, y, z; };

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace cuda_on_cpu {

// Where in the kernel's source a barrier or a warp call stands. As a default argument it is evaluated at the call.
struct Site {
    const char* file;
    int line;
    static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

enum class Order : int { forward, reverse, random };

// One launch, laid out as builder.py's ctypes structure of the same name.
struct Launch {
    unsigned grid[3], block[3];
    size_t shared_bytes;
    Order order;
    unsigned seed;
};

using Body = void (*)(void* arguments);

extern uint3 thread_index, block_index;
extern dim3 block_size, grid_size;

// Run all blocks, one after another. Returns null, or what went wrong.
const char* run(const Launch&, Body, void* arguments);

// Stop the launch with a message; formatted as printf does, and completed with the block and the thread.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

int lane();

struct Votes { int count; bool all, any; };
Votes block_barrier(bool predicate, Site);

void warp_barrier(unsigned mask, Site);
// The value that `source`, a lane of the mask, passed to the same call.
uint64_t warp_exchange(unsigned mask, uint64_t value, int source, Site);
// One bit for each lane of the mask whose predicate holds.
unsigned warp_ballot(unsigned mask, bool predicate, Site);

}  // namespace cuda_on_cpu

static const uint3& threadIdx = cuda_on_cpu::thread_index;
static const uint3& blockIdx = cuda_on_cpu::block_index;
static const dim3& blockDim = cuda_on_cpu::block_size;
static const dim3& gridDim = cuda_on_cpu::grid_size;
static constexpr int warpSize = 32;
