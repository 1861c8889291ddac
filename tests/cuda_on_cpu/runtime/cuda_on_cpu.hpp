// Compile a CUDA C++ source file with a C++ compiler, and run its kernels on the CPU: for tests only.
//
// Kernels see the CUDA C++ that code of this kind needs, less what is listed in kernels/README.md under "Checking CUDA
// code without a GPU". Code that needs more goes behind `#ifndef CUDA_ON_CPU`, with a plain path beside it.
#pragma once
#define CUDA_ON_CPU 1

#include "runtime.hpp"

#include "vectors.hpp"
#include "math.hpp"
#include "synchronization.hpp"
#include "atomics.hpp"
#include "launch.hpp"
#include "qualifiers.hpp"
