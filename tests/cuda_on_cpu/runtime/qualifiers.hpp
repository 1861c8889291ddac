// The words that CUDA adds to declarations. Included last: the standard library uses some of them for its own ends.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__ static
// Static storage, but a declaration where it follows `extern`; and, as in CUDA, never initialised at run time.
#define __shared__ __constinit thread_local
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
